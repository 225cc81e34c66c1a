"""Real scans pushed by dcmtk end as SR, SEG, PDF and capture in a real PACS; what cannot be measured ends with a reason."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builders.peers import need_program

pytestmark = [pytest.mark.real_ct, pytest.mark.peer]
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def seen(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    for program in ("Orthanc", "storescu", "dcmdjpls", "dciodvfy", "unshare", "ip"):
        need_program(program)
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network name space of our own here, and Orthanc binds to every address")
    out = tmp_path_factory.mktemp("real-path")
    command = ["unshare", "-n", sys.executable, "-m", "service.real_path", str(shared), str(out)]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return dict(json.loads((out / "answer.json").read_text()))


def test_every_push_is_taken(seen: dict[str, Any]) -> None:
    assert set(seen["storescu"].values()) == {0}, seen["storescu"]


def test_the_real_series_are_measured_and_delivered(seen: dict[str, Any]) -> None:
    done = [row for row in seen["studies"] if row["state"] == "done"]
    assert len(done) == 2, seen["studies"]
    for row in done:
        modalities = sorted(entry["modality"] for entry in seen["objects"] if entry["study"] == row["study_instance_uid"])
        assert modalities == ["DOC", "OT", "SEG", "SR"]


def test_dciodvfy_finds_no_error_in_what_the_pacs_holds(seen: dict[str, Any]) -> None:
    assert {entry["path"]: entry["errors"] for entry in seen["objects"] if entry["errors"]} == {}


def test_every_other_study_ends_with_a_reason(seen: dict[str, Any]) -> None:
    rest = [row for row in seen["studies"] if row["state"] != "done"]
    assert len(rest) >= 4
    assert {row["state"] for row in rest} <= {"skipped", "failed"}
    assert all(len(row["reason"]) > 15 for row in rest), rest
    assert any(row["code"] == "HU_IMPLAUSIBLE" for row in rest), rest
    assert any(row["code"] == "NOT_CT" for row in rest), rest
