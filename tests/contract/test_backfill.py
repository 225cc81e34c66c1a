"""Old studies of an archive are fetched once each, slowly, and after a stop from where it was."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from builders.archive import FakeArchive, dicomweb_archive, dimse_archive
from builders.ledger import enter
from builders.small_ct import small_ct
from trabecula_service.backfill.dicomweb_archive import DicomwebArchive
from trabecula_service.backfill.dimse_archive import DimseArchive
from trabecula_service.backfill.port import Archive, ArchiveError, Fetched, NotFetched
from trabecula_service.backfill.run import Backfill, Days
from trabecula_service.ledger.database import Ledger, open_ledger
from trabecula_service.ledger.schema import studies, versions
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.queue.port import Priority
from trabecula_service.queue.priority import PriorityRule
from trabecula_service.receive.completion import settle_due
from trabecula_service.receive.listener import Listener
from trabecula_service.receive.object_store import ObjectStore
from trabecula_service.settings.backfill import BackfillSettings
from trabecula_service.settings.receive import ReceiveSettings, SeriesSettings

DAYS = Days(first=date(2026, 1, 2), last=date(2026, 1, 4))
LONG_AFTER = 4e9


class Site:
    """A listener with its ledger, and an archive that can send to it."""

    def __init__(self, folder: Path) -> None:
        self.ledger: Ledger = open_ledger(folder / "ledger.sqlite")
        values = {"bind": "127.0.0.1", "port": 0, "allowed_callers": ("127.0.0.1",), "reserve_free_gib": 0.0}
        self.listener = Listener(
            ReceiveSettings.model_validate(values), self.ledger, ObjectStore(folder / "objects"), run_id="run", data=folder
        )
        self.listener.start()
        self.slept: list[float] = []

    def backfill(self, archive: Archive, **settings: Any) -> Backfill:
        chosen = BackfillSettings(**{"studies_per_hour": 36_000.0, **settings})
        return Backfill(archive, self.ledger, chosen, clock=lambda: 1000.0, sleep=self._sleep)

    def received(self) -> dict[str, int]:
        with self.ledger.read() as connection:
            rows = connection.execute(select(studies.c.study_instance_uid, versions.c.number).join(versions))
            return {row.study_instance_uid: row.number for row in rows}

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > 50:
            raise TimeoutError("waited for ever")

    def close(self) -> None:
        self.listener.stop()
        self.ledger.close()


def _studies() -> dict[str, list[Any]]:
    made = [small_ct(slices=2, PatientID=str(number), StudyDate=f"2026010{2 + number % 3}") for number in range(5)]
    made.append(small_ct(slices=1, StudyDate="20260103", Modality="MR"))
    made.append(small_ct(slices=1, StudyDate="20251231"))
    return {images[0].StudyInstanceUID: images for images in made}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = Site(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(params=["c-move", "dicomweb"])
def both(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[tuple[Archive, FakeArchive]]:
    port = site.listener.port
    if request.param == "c-move":
        with dimse_archive(_studies(), {"TRABECULA": port}) as fake:
            settings = BackfillSettings(host="127.0.0.1", port=fake.port, ae_title="ARCHIVE", timeout_seconds=10)
            yield DimseArchive(settings, destination="TRABECULA"), fake
    else:
        with dicomweb_archive(_studies()) as fake:
            settings = BackfillSettings.model_validate({"url": fake.url, "timeout_seconds": 10})
            yield DicomwebArchive(settings, listener=("127.0.0.1", port, "TRABECULA"), folder=tmp_path), fake


def test_the_ct_studies_of_the_days_are_fetched_once_each(site: Site, both: tuple[Archive, FakeArchive]) -> None:
    archive, fake = both
    run = site.backfill(archive)
    assert run.find(DAYS) == 5
    last = list(run.fetch(DAYS))[-1]
    assert (last.found, last.fetched, last.failed) == (5, 5, 0)
    assert len(site.received()) == len(set(fake.asked)) == len(fake.asked) == 5
    assert run.find(DAYS) == 0, "the same days again bring nothing new"
    assert list(run.fetch(DAYS)) == []
    assert run.table(DAYS) == [("receiving", 5)]


def test_a_stopped_backfill_goes_on_where_it_was(site: Site, both: tuple[Archive, FakeArchive]) -> None:
    archive, fake = both
    run = site.backfill(archive)
    run.find(DAYS)
    fetching = run.fetch(DAYS)
    next(fetching)
    next(fetching)
    fetching.close()
    again = site.backfill(archive)
    again.find(DAYS)
    assert len(list(again.fetch(DAYS))) == 3
    assert len(fake.asked) == len(set(fake.asked)) == 5


def test_a_study_that_cannot_be_fetched_is_tried_again_last_and_then_told_with_its_reason(
    site: Site, both: tuple[Archive, FakeArchive]
) -> None:
    archive, fake = both
    unlucky = next(uid for uid, images in fake.studies.items() if images[0].StudyDate == "20260104")
    fake.lost.add(unlucky)
    run = site.backfill(archive, attempts=2)
    run.find(DAYS)
    last = list(run.fetch(DAYS))[-1]
    assert (last.fetched, last.failed) == (4, 1)
    assert fake.asked.count(unlucky) == 2
    assert fake.asked[-1] == unlucky
    assert any(what.startswith("not fetched: the archive") and count == 1 for what, count in run.table(DAYS))


def test_fetched_studies_are_analysed_after_all_others(site: Site, both: tuple[Archive, FakeArchive]) -> None:
    run = site.backfill(both[0])
    run.find(DAYS)
    list(run.fetch(DAYS))
    enter(site.ledger, small_ct(slices=1, PatientID="of today")[0], 2000.0)
    queue = LeaseTable(lease_seconds=60.0, priority=PriorityRule())
    with site.ledger.write() as connection:
        assert settle_due(connection, queue, SeriesSettings(), LONG_AFTER) == 6
        first = queue.lease(connection, "a", LONG_AFTER)
        priorities = connection.execute(select(studies.c.priority).order_by(studies.c.priority)).scalars().all()
        assert first is not None
        patient = connection.execute(
            select(studies.c.patient_id).join(versions, versions.c.study_id == studies.c.id).where(versions.c.id == first.version_id)
        ).scalar_one()
    assert patient == "of today"
    assert priorities == [Priority.BACKFILL] * 5 + [Priority.ROUTINE]


def test_a_caller_of_urgent_studies_makes_them_stat(site: Site, tmp_path: Path) -> None:
    from builders.service import send

    send(site.listener.port, small_ct(slices=1, PatientID="1"), ae_title="CT1")
    send(site.listener.port, small_ct(slices=1, PatientID="2"), ae_title="CT_ER")
    queue = LeaseTable(lease_seconds=60.0, priority=PriorityRule(("CT_ER@*",)))
    with site.ledger.write() as connection:
        settle_due(connection, queue, SeriesSettings(), LONG_AFTER)
        rows = connection.execute(select(studies.c.patient_id, studies.c.priority).order_by(studies.c.patient_id)).all()
    assert [tuple(row) for row in rows] == [("1", Priority.ROUTINE), ("2", Priority.STAT)]


class Scripted:
    """An archive of one study a day that costs no time."""

    def find(self, day: date) -> list[str]:
        return [f"1.2.{day:%Y%m%d}"]

    def fetch(self, study_instance_uid: str) -> Fetched | NotFetched:
        del study_instance_uid
        return Fetched(1)


def test_no_more_studies_are_fetched_in_an_hour_than_allowed(site: Site) -> None:
    run = site.backfill(Scripted(), studies_per_hour=60.0)
    run.find(DAYS)
    list(run.fetch(DAYS))
    assert site.slept == [60.0, 60.0, 60.0]


def test_nothing_is_fetched_while_too_many_wait(site: Site) -> None:
    queue = LeaseTable(lease_seconds=60.0)
    enter(site.ledger, small_ct(slices=1)[0], 0.0)
    with site.ledger.write() as connection:
        settle_due(connection, queue, SeriesSettings(), LONG_AFTER)
    run = site.backfill(Scripted(), most_waiting=1)
    run.find(DAYS)
    with pytest.raises(TimeoutError):
        next(iter(run.fetch(DAYS)))
    with site.ledger.write() as connection:
        lease = queue.lease(connection, "worker", LONG_AFTER)
        assert lease is not None
        queue.finish(connection, lease)
    site.slept.clear()
    assert next(iter(run.fetch(DAYS))).fetched == 1


def test_an_archive_that_does_not_know_us_is_said_in_words(site: Site) -> None:
    with dimse_archive(_studies(), {}) as fake:
        settings = BackfillSettings(host="127.0.0.1", port=fake.port, ae_title="ARCHIVE", timeout_seconds=10)
        outcome = DimseArchive(settings, destination="TRABECULA").fetch(next(iter(fake.studies)))
    assert isinstance(outcome, NotFetched)
    assert 'does not know the AE title "TRABECULA"' in outcome.note


def test_an_archive_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    settings = BackfillSettings.model_validate(
        {"host": "127.0.0.1", "port": 1, "url": "http://127.0.0.1:1/dicom-web", "timeout_seconds": 2}
    )
    for archive in (DimseArchive(settings, destination="T"), DicomwebArchive(settings, listener=("127.0.0.1", 1, "T"), folder=tmp_path)):
        with pytest.raises(ArchiveError, match="does not answer"):
            archive.find(DAYS.first)
        assert isinstance(archive.fetch("1.2.3"), NotFetched)
