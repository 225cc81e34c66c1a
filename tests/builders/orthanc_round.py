"""Our C-STORE destination hands files to a real Orthanc, in a network name space of its own: Orthanc binds to every address."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builders.peers import need_program

_HTTP, _DICOM = 18042, 14242
_ROUND = """
ip link set lo up
Orthanc orthanc.json >orthanc.log 2>&1 &
for i in $(seq 300); do curl -s -o /dev/null localhost:{http}/system && break; sleep 0.1; done
"{python}" -m builders.orthanc_round {port} {files} >outcomes.txt 2>&1
for i in $(curl -s localhost:{http}/instances | grep -o '[0-9a-f-]\\{{44\\}}'); do
    curl -s localhost:{http}/instances/$i/simplified-tags >held-$i.json
done
kill %1; wait
"""


def deliver_to_orthanc(paths: Sequence[Path], folder: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """The outcome of each delivery, and the tags of each object that Orthanc holds in the end."""
    for program in ("Orthanc", "unshare", "ip", "curl"):
        need_program(program)
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network name space of our own here, and Orthanc binds to every address")
    settings = {
        "HttpPort": _HTTP, "DicomPort": _DICOM, "StorageDirectory": str(folder / "store"), "IndexDirectory": str(folder / "store"),
        "AuthenticationEnabled": False, "DicomCheckCalledAet": False, "DicomAlwaysAllowStore": True, "Plugins": [],
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    files = " ".join(f'"{path}"' for path in paths)
    script = _ROUND.format(http=_HTTP, port=_DICOM, python=sys.executable, files=files)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    subprocess.run(["unshare", "-n", "bash", "-c", script], cwd=folder, env=environment, check=False, timeout=180)
    held = [json.loads(path.read_text()) for path in sorted(folder.glob("held-*.json"))]
    return (folder / "outcomes.txt").read_text().splitlines(), held


def _deliver(port: int, paths: Sequence[Path]) -> None:
    from trabecula_service.deliver.destinations.c_store import CStore
    from trabecula_service.deliver.port import Item
    from trabecula_service.settings.deliver import CStoreDestination

    destination = CStore(CStoreDestination(kind="c-store", host="127.0.0.1", port=port, ae_title="ORTHANC"))
    for path in paths:
        item = Item(path=path, document=path.name, study_id="0123456789abcdef", version_number=1)
        print(type(destination.deliver(item)).__name__)  # noqa: T201 - the answer to the test


if __name__ == "__main__":
    _deliver(int(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
