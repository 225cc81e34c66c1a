"""The ten minutes of `docs/connect-a-pacs.md`: with exactly its files a CT in Orthanc becomes a report in Orthanc, and nothing circles."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from builders.peers import need_program

pytestmark = pytest.mark.peer
TESTS = Path(__file__).resolve().parents[1]


def test_orthanc_as_the_page_says(tmp_path: Path) -> None:
    for program in ("Orthanc", "unshare", "ip"):
        need_program(program)
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network name space of our own here, and Orthanc binds to every address")
    command = ["unshare", "-n", sys.executable, "-m", "service.connect_orthanc", str(tmp_path)]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["statuses"] == [0, 0, 0]
    documents = ["Comprehensive SR Storage", "Encapsulated PDF Storage", "Secondary Capture Image Storage", "Segmentation Storage"]
    assert answer["objects"] == [*["CT Image Storage"] * 3, *documents]
    assert [study["state"] for study in answer["studies"]] == ["done"]
    assert {delivery["note"] for delivery in answer["deliveries"]} == {"stored, and the PACS has promised to keep it"}
