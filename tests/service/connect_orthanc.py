"""Orthanc and the service as `docs/connect-a-pacs.md` says, in a network name space of their own.

Run inside ``unshare -n``: ``python -m service.connect_orthanc OUT`` writes ``OUT/answer.json``: what Orthanc holds in the end.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
from pydicom.uid import UID

from builders.service import launch, send, wait_ticks
from builders.small_ct import small_ct

PAGE = Path(__file__).resolve().parents[2] / "docs" / "connect-a-pacs.md"
HTTP = "http://127.0.0.1:8042"
DOCUMENTS = 4
"""What the service sends for one study: SR, SEG, PDF and capture."""


def blocks(language: str) -> list[str]:
    """The code blocks of the page's section about Orthanc."""
    section = PAGE.read_text(encoding="utf-8").split("\n## Orthanc\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def start_orthanc(folder: Path) -> "subprocess.Popen[bytes]":
    """Orthanc with the files of the page; only where it keeps its files and how long it waits is ours."""
    folder.mkdir()
    (script,) = blocks("lua")
    (folder / "trabecula.lua").write_text(script)
    (text,) = blocks("json")
    settings = json.loads(text)
    settings["LuaScripts"] = [str(folder / Path(path).name) for path in settings["LuaScripts"]]
    settings |= {"StableAge": 1, "StorageDirectory": str(folder / "store"), "IndexDirectory": str(folder / "store"), "Plugins": []}
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            httpx2.get(f"{HTTP}/system", timeout=2)
            return process
        except httpx2.TransportError:
            time.sleep(0.1)
    raise TimeoutError("Orthanc did not start")


def service_settings(folder: Path) -> Path:
    """The settings of the page; only the data folder and the waits are ours."""
    (settings,) = blocks("toml")
    settings = settings.replace("[receive]\n", "[receive]\nreserve_free_gib = 0\n")
    path = folder / "trabecula.toml"
    path.write_text(f'data = "{folder / "data"}"\n{settings}\n[series]\nquiet_seconds = 0.5\n')
    return path


def objects() -> list[str]:
    """SOP class of each object in Orthanc, by name."""
    found = httpx2.get(f"{HTTP}/instances", timeout=10).json()
    return sorted(UID(httpx2.get(f"{HTTP}/instances/{name}/metadata/SopClassUid", timeout=10).text).name for name in found)


def main(out: Path) -> None:
    """One CT into Orthanc; wait until the documents of its analysis are there too."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        orthanc = start_orthanc(scratch / "orthanc")
        service = None
        try:
            images = small_ct()
            service = launch(service_settings(scratch))
            statuses = send(4242, images, called="ORTHANC")
            for _ in wait_ticks(120.0):
                if len(objects()) >= len(images) + DOCUMENTS:
                    break
            # A second round would show as more objects.
            time.sleep(3.0)
            studies = service.wait_for("done", seconds=60.0)
            deliveries = service.study(studies[0]["id"])["versions"][0]["deliveries"]
            answer = {"statuses": statuses, "objects": objects(), "studies": studies, "deliveries": deliveries}
        finally:
            if service is not None:
                service.kill()
            orthanc.terminate()
            orthanc.wait()
    (out / "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
