"""The roles as separate processes over one PostgreSQL and one folder: they share the work, and take over from those that die."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from builders.fake_analysis import DOCUMENTS
from builders.postgres import PostgresServer
from builders.roles import Cluster, cluster
from builders.service import Collector, send, wait_ticks
from builders.small_ct import small_ct
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.schema import jobs

STUDIES = 8


@pytest.fixture
def pacs() -> Iterator[Collector]:
    collector = Collector().start()
    yield collector
    collector.stop()


def test_a_killed_worker_is_replaced_by_another_and_every_report_goes_out_once(
    tmp_path: Path, postgres_address: str, pacs: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    monkeypatch.setenv("TRABECULA_TEST_MARK", str(mark))
    roles = ("listen", "work", "work", "deliver", "api")
    with cluster(tmp_path, postgres_address, roles, pacs_port=pacs.port, analysis="builders.fake_analysis:slow_once") as service:
        listen, first, second, deliver, _api = service.processes
        for _ in range(3):
            assert send(listen.dicom_port, small_ct()) == [0] * 3
        for _ in wait_ticks(60):
            if mark.exists() and mark.read_text():
                break
        busy = _worker_of(int(mark.read_text()))
        next(process for process in (first, second) if process.process.pid == busy).kill()
        deliver.kill()
        service.start("deliver")
        rows = service.wait_for("done", count=3)
        assert {row["version"] for row in rows} == {1}
        assert len(pacs.uids()) == len(set(pacs.uids())) == 3 * len(DOCUMENTS)
        histories = [service.get(f"/api/v1/studies/{row['id']}").json()["history"] for row in rows]
        taken_over = [entry for history in histories for entry in history if "gave no sign of life during attempt 1" in entry["reason"]]
        assert len(taken_over) == 1
        assert all(process.stop() == 0 for process in service.processes if process.is_alive)


def _worker_of(analysis_pid: int) -> int:
    return int(Path(f"/proc/{analysis_pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_database_that_is_away_for_a_moment_loses_nothing(
    tmp_path: Path, postgres_server: PostgresServer, postgres_address: str, pacs: Collector
) -> None:
    with cluster(tmp_path, postgres_address, ("listen,deliver,api", "work"), pacs_port=pacs.port) as service:
        port = service.processes[0].dicom_port
        images = small_ct(slices=4)
        assert send(port, images[:2]) == [0, 0]
        postgres_server.stop(how="immediate")
        refused = send(port, images[2:])
        assert 0 not in refused, "what cannot be entered is not acknowledged"
        postgres_server.start()
        for _ in wait_ticks(60):
            if send(port, images[2:]) == [0, 0]:
                break
        (row,) = service.wait_for("done", count=1)
        assert service.get(f"/api/v1/results/{row['id']}").json()["source"]["file_count"] == 4
        versions = len(service.get(f"/api/v1/studies/{row['id']}").json()["versions"])
        assert len(pacs.uids()) == len(set(pacs.uids()))
        assert len(pacs.uids()) in (len(DOCUMENTS), versions * len(DOCUMENTS))


def test_two_workers_share_the_queue_and_work_at_the_same_time(tmp_path: Path, postgres_address: str) -> None:
    with cluster(tmp_path, postgres_address, ("listen,api", "work", "work"), analysis="builders.fake_analysis:half_a_second") as service:
        for _ in range(STUDIES):
            send(service.processes[0].dicom_port, small_ct(slices=1))
        rows = service.wait_for("done", count=STUDIES)
        spans = [_running_span(service, row["id"]) for row in rows]
    ledger = Ledger(postgres_address)
    with ledger.read() as connection:
        shares = connection.execute(select(func.count()).select_from(jobs).group_by(jobs.c.owner)).scalars().all()
    ledger.close()
    assert len(shares) == 2
    assert min(shares) >= STUDIES // 4, "one worker did nearly everything"
    overlaps = sum(start < other_start < end for start, end in spans for other_start, _ in spans)
    assert overlaps >= STUDIES // 2, "they took turns"


def _running_span(service: Cluster, study_id: str) -> tuple[str, str]:
    history = service.get(f"/api/v1/studies/{study_id}").json()["history"]
    times = {entry["to_state"]: entry["at"] for entry in history}
    return times["running"], times["measured"]
