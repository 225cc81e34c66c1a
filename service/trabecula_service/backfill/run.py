"""Fetching the studies of some days from an archive: no quicker than allowed, and only while the analysis keeps up."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import structlog

from trabecula_service.backfill.port import Archive, Fetched
from trabecula_service.ledger.backfill import Step, enter_found, failures, mark, next_study, summary
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.queries import count_jobs
from trabecula_service.settings.backfill import BackfillSettings

_FULL_PAUSE_SECONDS = 5.0

log = structlog.get_logger("trabecula.backfill")


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """First and last day, both included."""

    first: date
    last: date

    def latest_first(self) -> Iterator[date]:
        """All days, from the last one back."""
        for back in range((self.last - self.first).days + 1):
            yield self.last - timedelta(days=back)

    @property
    def as_dicom(self) -> tuple[str, str]:
        """First and last as DICOM dates."""
        return self.first.strftime("%Y%m%d"), self.last.strftime("%Y%m%d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What has been done of what was found."""

    found: int
    fetched: int
    failed: int


class Backfill:
    """One run over some days; another run over the same days goes on where this one was stopped."""

    def __init__(
        self,
        archive: Archive,
        ledger: Ledger,
        settings: BackfillSettings,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._archive, self._ledger, self._settings, self._clock, self._sleep = archive, ledger, settings, clock, sleep

    def find(self, days: Days) -> int:
        """Enter what the archive has of these days; how many studies are new in the list.

        Raises
        ------
        ArchiveError
            The archive cannot be asked.
        """
        new = 0
        for day in days.latest_first():
            found = self._archive.find(day)
            with self._ledger.write() as connection:
                new += enter_found(connection, found, day.strftime("%Y%m%d"), self._clock())
        return new

    def fetch(self, days: Days) -> Iterator[Progress]:
        """Fetch study after study until all were fetched or failed too often; tells after each how far it is."""
        pause_seconds = 3600.0 / self._settings.studies_per_hour
        while True:
            self._wait_for_room()
            with self._ledger.read() as connection:
                study_uid = next_study(connection, *days.as_dicom, most_attempts=self._settings.attempts)
            if study_uid is None:
                return
            started = self._clock()
            self._fetch_one(study_uid)
            yield self.progress(days)
            self._sleep(max(0.0, pause_seconds - (self._clock() - started)))

    def progress(self, days: Days) -> Progress:
        """How far it is now."""
        with self._ledger.read() as connection:
            counts = summary(connection, *days.as_dicom)
        waiting = {step: counts.pop(step, 0) for step in (Step.LISTED, Step.REQUESTED, Step.FAILED)}
        fetched = sum(counts.values())
        return Progress(found=fetched + sum(waiting.values()), fetched=fetched, failed=waiting[Step.FAILED])

    def table(self, days: Days) -> list[tuple[str, int]]:
        """What became of the studies, and why some could not be fetched."""
        with self._ledger.read() as connection:
            rows = sorted(summary(connection, *days.as_dicom).items())
            return rows + [(f"not fetched: {note}", count) for note, count in failures(connection, *days.as_dicom).items()]

    def _wait_for_room(self) -> None:
        while True:
            with self._ledger.read() as connection:
                waiting = count_jobs(connection).get("ready", 0)
            if waiting < self._settings.most_waiting:
                return
            self._sleep(_FULL_PAUSE_SECONDS)

    def _fetch_one(self, study_uid: str) -> None:
        # Entered first, so that the study is known for a backfill when its first object arrives.
        with self._ledger.write() as connection:
            mark(connection, study_uid, Step.REQUESTED, "", self._clock())
        outcome = self._archive.fetch(study_uid)
        with self._ledger.write() as connection:
            if isinstance(outcome, Fetched):
                mark(connection, study_uid, Step.FETCHED, "", self._clock())
            else:
                mark(connection, study_uid, Step.FAILED, outcome.note, self._clock())
        log.info("backfill_study", outcome=type(outcome).__name__.lower(), note="" if isinstance(outcome, Fetched) else outcome.note)
