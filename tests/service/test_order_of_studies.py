"""Ten studies that come at once are queued and finished in order: the urgent ones first, the others as they came, on both queues."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid

from builders.roles import cluster
from builders.service import Collector, launch, send, wait_ticks, write_settings
from builders.small_ct import small_ct

STUDIES = 10
URGENT = frozenset({3, 6, 9})
ANALYSIS = "builders.fake_analysis:when_released"
STAT = '[series]\nstat_callers = ["CT_ER@*"]\n'


@pytest.fixture
def pacs() -> Iterator[Collector]:
    collector = Collector().start()
    yield collector
    collector.stop()


class Running:
    """A service with one worker, on either queue."""

    def __init__(self, dicom_port: int, get: Callable[[str], Any]) -> None:
        self.dicom_port, self.get = dicom_port, get

    def rows(self) -> list[dict[str, Any]]:
        return list(self.get("/api/v1/studies?limit=500").json()["studies"])

    def wait_for(self, state: str, count: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for _ in wait_ticks(120):
            rows = [row for row in self.rows() if row["state"] == state]
            if len(rows) == count:
                return rows
        raise AssertionError(f"{count} {state}: {[(row['state'], row['reason']) for row in self.rows()]}")

    def entered(self, study_id: str, state: str) -> str:
        """When a study came into a state."""
        history = self.get(f"/api/v1/studies/{study_id}").json()["history"]
        return str(next(entry["at"] for entry in history if entry["to_state"] == state))


@pytest.fixture(params=["lease table", "procrastinate"])
def service(request: pytest.FixtureRequest, tmp_path: Path, pacs: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("TRABECULA_TEST_MARK", str(tmp_path / "mark"))
    if request.param == "lease table":
        config = write_settings(tmp_path, pacs_port=pacs.port)
        config.write_text(config.read_text().replace("[series]\n", STAT))
        alone = launch(config, analysis=ANALYSIS)
        yield Running(alone.dicom_port, alone.get)
        alone.kill()
        return
    with cluster(tmp_path, request.getfixturevalue("postgres_address"), (), pacs_port=pacs.port, analysis=ANALYSIS) as processes:
        processes.config.write_text(processes.config.read_text().replace("[series]\n", STAT))
        door, _ = processes.start("listen,deliver,api", "work")
        yield Running(door.dicom_port, processes.get)


def test_ten_studies_at_once_are_finished_in_order(service: Running, pacs: Collector, tmp_path: Path) -> None:
    assert send(service.dicom_port, small_ct(slices=1, PatientID="first")) == [0]
    service.wait_for("running", 1)

    uids = [str(generate_uid()) for _ in range(STUDIES)]

    def send_one(number: int) -> list[int]:
        title = "CT_ER" if number in URGENT else "CT_WARD"
        return send(service.dicom_port, small_ct(slices=4, study_uid=uids[number]), ae_title=title)

    with ThreadPoolExecutor(STUDIES) as senders:
        assert list(senders.map(send_one, range(STUDIES))) == [[0] * 4] * STUDIES
    queued = service.wait_for("queued", STUDIES)
    in_queue = {row["id"]: (service.entered(row["id"], "queued"), row["first_received"]) for row in queued}
    urgent = {row["id"] for row in queued if uids.index(row["study_instance_uid"]) in URGENT}
    assert len(urgent) == len(URGENT)
    (tmp_path / "mark.go").touch()
    done = service.wait_for("done", STUDIES + 1)
    expected = sorted(in_queue, key=lambda study: (study not in urgent, in_queue[study]))
    assert sorted(in_queue, key=lambda study: service.entered(study, "running")) == expected
    assert sorted(in_queue, key=lambda study: service.entered(study, "done")) == expected
    uid_of = {row["id"]: row["study_instance_uid"] for row in done}
    delivered = list(dict.fromkeys(str(dataset.StudyInstanceUID) for dataset in pacs.received))
    assert delivered[1:] == [uid_of[study] for study in expected]
