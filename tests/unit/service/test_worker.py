"""What the worker makes of each end that an analysis can have."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select

from builders.ledger import enter, keep_object, states_of
from builders.small_ct import small_ct
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.queries import list_documents, list_studies
from trabecula_service.ledger.retry import retry_study
from trabecula_service.ledger.schema import deliveries, instances
from trabecula_service.ledger.states import State, StateError
from trabecula_service.ops.data_folder import DataFolder
from trabecula_service.pipeline.request import AnalyzeRequest
from trabecula_service.queue.analysis_port import Broken, Finished, Stopped, Tick
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.queue.worker import Worker
from trabecula_service.receive.completion import settle_due
from trabecula_service.receive.object_store import ObjectStore
from trabecula_service.settings.receive import SeriesSettings
from trabecula_service.settings.work import WorkSettings

LEASES = LeaseTable(lease_seconds=60.0)


class ScriptedAnalysis:
    """Answers with what it was given, in order; a callable is called first."""

    def __init__(self, *ends: Finished | Broken | Stopped | Callable[[AnalyzeRequest], Finished]) -> None:
        self.ends, self.requests, self.during = list(ends), list[AnalyzeRequest](), lambda: None

    def run(self, request: AnalyzeRequest, tick: Tick) -> Finished | Broken | Stopped:
        self.requests.append(request)
        self.during()
        end = self.ends.pop(0)
        if isinstance(end, Stopped):
            assert not tick("measure", 0.5)
            return end
        tick("measure", 0.5)
        return end(request) if callable(end) else end

    def close(self) -> None:
        """Nothing is held."""


class Bench:
    """A worker over a ledger, with a clock that the test turns."""

    def __init__(self, ledger: Ledger, folder: Path, *ends: Finished | Broken | Stopped | Callable[[AnalyzeRequest], Finished]) -> None:
        self.ledger, self.now, self.stopping = ledger, 1000.0, False
        self.analysis = ScriptedAnalysis(*ends)
        self.folder = DataFolder(folder / "data")
        self.folder.open()
        self.worker = Worker(
            WorkSettings(max_attempts=3, retry_seconds=10.0),
            ledger,
            LEASES,
            ObjectStore(self.folder.objects),
            self.analysis,
            self.folder,
            run_id="run",
            recipients={"pacs": ("report.sr.dcm",)},
            clock=lambda: self.now,
            stopping=lambda: self.stopping,
        )

    def receive(self, images: list[Dataset]) -> None:
        for image in images:
            enter(self.ledger, image, self.now)
        with self.ledger.read() as connection:
            for sha256 in connection.execute(select(instances.c.sha256)).scalars():
                keep_object(self.folder.objects, sha256)
        self.now += 100.0
        with self.ledger.write() as connection:
            settle_due(connection, LEASES, SeriesSettings(quiet_seconds=10.0), self.now)

    def study(self):
        with self.ledger.read() as connection:
            return list_studies(connection, state=None, limit=1, offset=0)[0]


def _writes(*names: str) -> Callable[[AnalyzeRequest], Finished]:
    def end(request: AnalyzeRequest) -> Finished:
        request.out.mkdir(parents=True)
        files = tuple(request.out / name for name in names)
        for file in files:
            file.write_bytes(file.name.encode())
        return Finished(exit_code=0, message="measured", result_json=None, files=files)

    return end


def test_a_result_goes_to_the_outbox_with_its_documents(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(ledger, tmp_path, _writes("report.sr.dcm", "result.json"))
    bench.receive(small_ct())
    assert bench.worker.step() is True
    study = bench.study()
    assert study.state is State.DELIVERING
    with ledger.read() as connection:
        documents = list_documents(connection, study.version_id)
        assert connection.execute(select(deliveries.c.destination)).scalars().all() == ["pacs"]
    assert [document.name for document in documents] == ["report.sr.dcm", "result.json"]
    assert (bench.folder.root / documents[0].path).read_bytes() == b"report.sr.dcm"
    assert list(bench.folder.work.iterdir()) == [], "nothing of the attempt is left"


def test_the_analysis_sees_exactly_the_ct_images_of_the_study(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(ledger, tmp_path, _writes())
    seen: list[int] = []
    bench.analysis.during = lambda: seen.append(len(list(bench.analysis.requests[0].input.iterdir())))
    images = small_ct(slices=4)
    images[3].SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    bench.receive(images)
    bench.worker.step()
    assert seen == [3]


def test_a_broken_attempt_is_tried_again_later_and_then_given_up_with_its_reason(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(ledger, tmp_path, *[Broken("the analysis process was ended by SIGSEGV")] * 3)
    bench.receive(small_ct())
    waits = []
    for _ in range(3):
        while not bench.worker.step():
            bench.now += 1.0
        waits.append(bench.now)
    assert [b - a for a, b in pairwise(waits)] == [10.0, 20.0]
    study = bench.study()
    assert study.state is State.FAILED
    assert "SIGSEGV" in study.reason
    assert bench.worker.step() is False


def test_every_attempt_asks_for_the_same_documents(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(ledger, tmp_path, Broken("crash"), _writes())
    bench.receive(small_ct())
    bench.worker.step()
    bench.now += 50.0
    bench.worker.step()
    first, second = bench.analysis.requests
    assert (first.created, first.version) == (second.created, second.version)


def test_an_unreadable_input_fails_at_once_with_its_message(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(ledger, tmp_path, Finished(exit_code=2, message="truncated pixel data", result_json=None, files=()))
    bench.receive(small_ct())
    bench.worker.step()
    assert (bench.study().state, bench.study().reason) == (State.FAILED, "truncated pixel data")
    bench.now += 10_000.0
    assert bench.worker.step() is False


def test_an_answer_that_comes_after_the_lease_was_lost_is_dropped(ledger: Ledger, tmp_path: Path) -> None:
    images = small_ct(slices=2)
    bench = Bench(ledger, tmp_path, _writes("report.sr.dcm"))
    bench.receive(images[:1])
    bench.analysis.during = lambda: enter(ledger, images[1], bench.now)
    bench.worker.step()
    assert states_of(ledger) == [(1, State.SUPERSEDED), (2, State.RECEIVING)]
    with ledger.read() as connection:
        assert connection.execute(select(deliveries)).all() == []


def test_stopping_in_good_order_costs_no_attempt(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(ledger, tmp_path, Stopped(), _writes())
    bench.receive(small_ct())
    bench.stopping = True
    bench.worker.step()
    assert bench.study().state is State.QUEUED
    bench.stopping = False
    bench.worker.step()
    with ledger.read() as connection:
        from trabecula_service.ledger.schema import jobs

        assert connection.execute(select(jobs.c.attempts)).scalar_one() == 1


def test_a_start_takes_up_what_was_running_and_clears_what_nobody_names(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(ledger, tmp_path, Broken("not reached"))
    bench.receive(small_ct())
    with ledger.write() as connection:
        LEASES.lease(connection, "the run before", bench.now)
    (bench.folder.results / "7-7-7").mkdir()
    assert bench.worker.recover() == 1
    assert list(bench.folder.results.iterdir()) == []
    with ledger.write() as connection:
        assert LEASES.lease(connection, "run", bench.now) is not None


def test_a_failed_study_can_be_tried_again_and_a_good_one_cannot(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(ledger, tmp_path, Finished(exit_code=2, message="refused", result_json=None, files=()), _writes("report.sr.dcm"))
    bench.receive(small_ct())
    bench.worker.step()
    with ledger.write() as connection:
        assert retry_study(connection, LEASES, bench.study().id, actor="test", now=bench.now) is State.QUEUED
    bench.worker.step()
    assert bench.study().state is State.DELIVERING
    with ledger.write() as connection, pytest.raises(StateError, match="only one that failed"):
        retry_study(connection, LEASES, bench.study().id, actor="test", now=bench.now)
