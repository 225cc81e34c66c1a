"""The whole service as a process: killed anywhere, it ends with exactly one delivered set."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.fake_analysis import DOCUMENTS
from builders.service import Collector, RunningService, running_service, send, wait_ticks
from builders.small_ct import small_ct


@pytest.fixture
def pacs() -> Iterator[Collector]:
    collector = Collector().start()
    yield collector
    collector.stop()


def _assert_delivered_once(pacs: Collector, sets: int = 1) -> None:
    assert len(pacs.uids()) == len(set(pacs.uids())) == sets * len(DOCUMENTS)


def _wait_for_state(service: RunningService, state: str) -> None:
    for _ in wait_ticks(60):
        if [row["state"] for row in service.studies()] == [state]:
            return
    raise AssertionError(f"never {state}: {service.studies()}")


def test_killed_in_the_quiet_time(tmp_path: Path, pacs: Collector) -> None:
    with running_service(tmp_path, pacs_port=pacs.port, quiet_seconds=1.0) as service:
        images = small_ct(slices=5)
        assert send(service.dicom_port, images) == [0] * 5
        service.kill()
        service.restart()
        (row,) = service.wait_for("done", "failed", "skipped")
        assert (row["state"], row["version"]) == ("done", 1)
        _assert_delivered_once(pacs)
        detail = service.study(row["id"])
        assert detail["objects"] == {"ct": 5}
        assert all(entry["reason"] for entry in detail["history"])


def test_killed_while_the_analysis_runs(tmp_path: Path, pacs: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "mark"
    monkeypatch.setenv("TRABECULA_TEST_MARK", str(mark))
    with running_service(tmp_path, pacs_port=pacs.port, analysis="builders.fake_analysis:slow_once") as service:
        send(service.dicom_port, small_ct())
        for _ in wait_ticks(60):
            if mark.exists() and mark.read_text():
                break
        child = int(mark.read_text())
        service.kill()
        for _ in wait_ticks(10):
            if not _alive(child):
                break
        assert not _alive(child), "the analysis does not outlive the service"
        service.restart()
        (row,) = service.wait_for("done", "failed")
        assert row["state"] == "done"
        _assert_delivered_once(pacs)
        assert any("the service was stopped during attempt 1" in entry["reason"] for entry in service.study(row["id"])["history"])


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_killed_while_delivering_with_the_pacs_down(tmp_path: Path, pacs: Collector) -> None:
    pacs.answer = lambda _dataset: 0x0000 if len(pacs.received) < 2 else 0xA700
    with running_service(tmp_path, pacs_port=pacs.port) as service:
        send(service.dicom_port, small_ct())
        for _ in wait_ticks(60):
            if len(pacs.uids()) == 2:
                break
        _wait_for_state(service, "delivering")
        service.kill()
        pacs.stop()
        service.restart()
        _wait_for_state(service, "delivering")
        pacs.answer = lambda _dataset: 0x0000
        pacs.start()
        (row,) = service.wait_for("done", "failed")
        assert row["state"] == "done"
        _assert_delivered_once(pacs)
        assert service.stop() == 0


def test_a_crash_of_the_analysis_is_a_failed_attempt_and_the_service_goes_on(tmp_path: Path, pacs: Collector) -> None:
    with running_service(tmp_path, pacs_port=pacs.port) as service:
        send(service.dicom_port, small_ct(description="crash"))
        send(service.dicom_port, small_ct(description="headct"))
        send(service.dicom_port, small_ct(description="refuse"))
        send(service.dicom_port, small_ct())
        rows = {row["state"]: row for row in service.wait_for("done", "failed", "skipped", count=4)}
        failed = sorted(row["reason"] for row in service.studies() if row["state"] == "failed")
        assert failed[0].startswith("given up after 3 attempts: the analysis process was ended by SIGSEGV")
        assert failed[1].startswith("unsupported transfer syntax")
        assert (rows["skipped"]["code"], rows["skipped"]["reason"]) == ("NO_SPINE", "NO_SPINE: No thoracic or lumbar vertebra in view.")
        _assert_delivered_once(pacs)
        listed = service.get("/api/v1/studies").json()
        assert sum(listed["counts"].values()) == listed["received"] == 4
        assert service.get("/healthz").json()["status"] == "ok"


def test_a_late_slice_makes_version_2_and_supersedes_the_report(tmp_path: Path, pacs: Collector) -> None:
    images = small_ct(slices=4)
    with running_service(tmp_path, pacs_port=pacs.port) as service:
        send(service.dicom_port, images[:3])
        service.wait_for("done")
        send(service.dicom_port, images[3:])
        for _ in wait_ticks(60):
            (row,) = service.studies()
            if (row["version"], row["state"]) == (2, "done"):
                break
        detail = service.study(row["id"])
        assert [(version["number"], version["state"]) for version in detail["versions"]] == [(2, "done"), (1, "superseded")]
        _assert_delivered_once(pacs, sets=2)
        assert service.get(f"/api/v1/results/{row['id']}").json()["source"]["file_count"] == 4
        assert service.get(f"/api/v1/results/{row['id']}?version=1").json()["source"]["file_count"] == 3
        send(service.dicom_port, images)
        assert service.stop() == 0
        assert len(pacs.uids()) == 2 * len(DOCUMENTS), "a repeat makes no work"


def test_a_second_service_on_one_data_folder_is_refused_by_name(tmp_path: Path) -> None:
    import subprocess
    import sys

    with running_service(tmp_path) as service:
        command = [
            sys.executable,
            "-c",
            "from trabecula_service.cli.serve import serve; from pathlib import Path; import sys; serve(Path(sys.argv[1]))",
        ]
        second = subprocess.run([*command, str(service.config)], capture_output=True, text=True, timeout=120)
        assert second.returncode != 0
        assert "another service uses this data folder" in second.stderr
        assert service.process.poll() is None
