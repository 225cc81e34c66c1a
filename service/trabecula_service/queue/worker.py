"""The worker: takes a job, has it analysed, and writes what came of it into the ledger, once."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from trabecula_models.backends.choice import BackendChoice
from trabecula_morphometry.voi import VoiStyle
from trabecula_service.calibrate.registry_file import merge_registry
from trabecula_service.ledger.calibrations import load_registry
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.outbox import post
from trabecula_service.ledger.priors import prior_results
from trabecula_service.ledger.reviews import note_result, review_of_version
from trabecula_service.ledger.schema import deliveries, documents, instances, jobs, versions
from trabecula_service.ledger.states import State, add_event, move
from trabecula_service.ledger.superseded import posted_dicom_paths
from trabecula_service.pipeline.calibration_policy import CalibrationPolicy
from trabecula_service.pipeline.request import EXIT_DONE, EXIT_NOT_EVALUABLE, AnalyzeRequest
from trabecula_service.queue.analysis_port import Analysis, Broken, Finished, Stopped
from trabecula_service.queue.port import JobQueue, Lease
from trabecula_service.queue.result_files import KeptFile, Places, keep_files, link_study
from trabecula_service.receive.object_store import ObjectStore
from trabecula_service.render.wording import headline
from trabecula_service.result import Result
from trabecula_service.review.order import ReviewOrder
from trabecula_service.settings.work import WorkSettings

_ACTOR = "worker"
_LONGEST_RETRY_SECONDS = 3600.0

log = structlog.get_logger("trabecula.work")


class Worker:
    """One step at a time; whoever calls ``step`` decides on the thread."""

    def __init__(
        self,
        settings: WorkSettings,
        ledger: Ledger,
        queue: JobQueue,
        store: ObjectStore,
        analysis: Analysis,
        places: Places,
        *,
        run_id: str,
        recipients: Mapping[str, Sequence[str]],
        backend: BackendChoice | None = None,
        voi_style: VoiStyle = VoiStyle.TRABECULA,
        calibration_policy: CalibrationPolicy | None = None,
        deliver_not_evaluable: bool = False,
        clock: Callable[[], float] = time.time,
        stopping: Callable[[], bool] = lambda: False,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings, self._ledger, self._queue, self._store, self._analysis = settings, ledger, queue, store, analysis
        self._places, self._run_id, self._recipients, self._clock, self._stopping = places, run_id, recipients, clock, stopping
        self._backend = backend or BackendChoice()
        self._voi_style = voi_style
        self._calibration_policy = calibration_policy or CalibrationPolicy()
        self._deliver_not_evaluable, self._alive = deliver_not_evaluable, alive

    def recover(self, *, alone: bool = True) -> int:
        """At the start: take up what an earlier run left unfinished; how many jobs.

        Parameters
        ----------
        alone : no other worker has this data folder, so every lease that is not ours belongs to the dead. With others about, leases are
            left to expire.
        """
        # Listed before the ledger is read: a folder is made after its lease was committed, so that of a living worker is known by then.
        work, results = list(self._places.work.iterdir()), list(self._places.results.iterdir())
        with self._ledger.write() as connection:
            owner = self._run_id if alone else None
            count = self._requeue(connection, self._queue.sweep(connection, self._clock(), all_but_owner=owner), "the service was stopped")
            leased = {f"{row.id}-{row.token}" for row in connection.execute(select(jobs).where(jobs.c.state == "leased"))}
            named = {Path(path).parts[1] for path in connection.execute(select(documents.c.path).distinct()).scalars()}
        for folder in work:
            if folder.name not in leased:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in results:
            # Moved here by an attempt that was ended before the ledger could name it.
            if folder.name not in named and folder.name.partition("-")[2] not in leased:
                shutil.rmtree(folder, ignore_errors=True)
        return count

    def step(self) -> bool:
        """Take one job and bring it to an end; False if there was none."""
        now = self._clock()
        with self._ledger.write() as connection:
            self._requeue(connection, self._queue.sweep(connection, now), "the worker gave no sign of life")
            lease = self._queue.lease(connection, self._run_id, now)
            if lease is None:
                return False
            if lease.attempt > self._settings.max_attempts:
                self._give_up(connection, lease, "the attempts ended without an answer", now)
                return True
            move(
                connection,
                lease.version_id,
                State.RUNNING,
                reason=f"attempt {lease.attempt} of {self._settings.max_attempts}",
                actor=_ACTOR,
                now=now,
            )
        folder = self._places.work / f"{lease.job_id}-{lease.token}"
        try:
            self._work(lease, folder)
        except OSError as error:
            self._after_break(lease, f"files of the analysis: {error.strerror or type(error).__name__}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return True

    def _work(self, lease: Lease, folder: Path) -> None:
        started = time.monotonic()
        request = self._request(lease, folder)
        end = self._analysis.run(request, lambda stage, share: self._tick(lease, stage, share))
        seconds = round(time.monotonic() - started, 3)
        match end:
            case Finished():
                kept = (
                    keep_files(end.files, self._places, folder_name=f"{lease.version_id}-{lease.job_id}-{lease.token}")
                    if end.exit_code != 2
                    else ()
                )
                kept_anyway = self._conclude(lease, end, kept)
                log.info(
                    "analysed",
                    job_id=lease.job_id,
                    version_id=lease.version_id,
                    exit_code=end.exit_code,
                    duration_s=seconds,
                    kept=kept_anyway,
                )
            case Broken(reason=reason):
                self._after_break(lease, reason)
            case Stopped():
                self._after_stop(lease)

    def _request(self, lease: Lease, folder: Path) -> AnalyzeRequest:
        with self._ledger.read() as connection:
            version = connection.execute(select(versions).where(versions.c.id == lease.version_id)).one()
            hashes = (
                connection.execute(
                    select(instances.c.sha256).where(
                        instances.c.study_id == version.study_id, instances.c.kind == "ct", instances.c.first_version <= version.number
                    )
                )
                .scalars()
                .all()
            )
            priors = prior_results(connection, version.study_id)
            superseded = posted_dicom_paths(connection, version.study_id, version.number)
        # Outside of the transaction: a bucket may take its time.
        link_study(folder / "input", self._store.local_all(hashes))
        return AnalyzeRequest(
            input=folder / "input",
            out=folder / "out",
            created=datetime.fromtimestamp(version.result_time_at, UTC),
            version=version.number,
            rules_file=self._settings.series_rules_file,
            join_stacks=self._settings.join_stacks,
            acquisition_file=self._settings.acquisition_file,
            calibration_file=self._calibration(folder),
            calibration_policy=self._calibration_policy,
            backend=self._backend,
            voi_style=self._voi_style,
            language=self._settings.language,
            priors=priors,
            reading_images=True,
            optional_documents=frozenset(name for names in self._recipients.values() for name in names),
            superseded=tuple(self._places.files.local(path) for path in superseded),
            review=self._review(lease.version_id),
        )

    def _review(self, version_id: int) -> ReviewOrder | None:
        """The order to sign, where the version came of a reader's verdict."""
        with self._ledger.read() as connection:
            found = review_of_version(connection, version_id)
        if found is None:
            return None
        review = found.review
        needed = ("segmentation.nii.gz", "segmentation_posterior.nii.gz", "report.sr.dcm")
        paths = {name: self._places.files.local(path) for name, path in found.documents.items() if name in needed}
        return ReviewOrder(
            verdict=review.verdict,
            reader=review.reader,
            organization=review.organization,
            reason=review.reason,
            at=datetime.fromtimestamp(review.signed_at, UTC),
            edits=review.edits,
            base_version=review.base_version_number,
            base_result_json=found.result_json,
            bodies=paths.get("segmentation.nii.gz"),
            posterior=paths.get("segmentation_posterior.nii.gz"),
            predecessor=paths.get("report.sr.dcm"),
        )

    def _calibration(self, folder: Path) -> Path | None:
        """The registry of the ledger, and the settings' file beside it, as the one file that the analysis reads."""
        with self._ledger.read() as connection:
            registry = load_registry(connection)
        if not registry.entries:
            return self._settings.calibration_file
        return merge_registry(registry, self._settings.calibration_file, folder / "calibration.toml")

    def _tick(self, lease: Lease, stage: str, share: float) -> bool:
        self._alive()
        if self._stopping():
            return False
        try:
            with self._ledger.write() as connection:
                alive = self._queue.renew(connection, lease, self._clock())
                if alive:
                    progress = f"{stage} {share:.0%}"
                    connection.execute(update(versions).where(versions.c.id == lease.version_id).values(progress=progress))
        except SQLAlchemyError as error:
            # The database is away for a moment. The fencing token decides at the end whether the answer still counts.
            log.warning("sign_of_life_not_given", job_id=lease.job_id, error=type(error).__name__)
            return True
        return alive

    def _conclude(self, lease: Lease, end: Finished, kept: Sequence[KeptFile]) -> bool:
        now = self._clock()
        with self._ledger.write() as connection:
            # The fencing token: if this worker was thought dead, or later images came, its answer is no longer wanted.
            current = self._queue.finish(connection, lease)
            if current:
                self._write_end(connection, lease, end, kept, now)
        if not current:
            self._places.files.delete([file.path for file in kept])
        return current

    def _write_end(self, connection: Connection, lease: Lease, end: Finished, kept: Sequence[KeptFile], now: float) -> None:
        version_id = lease.version_id
        result = Result.from_json(end.result_json) if end.result_json else None
        values = {"result_json": end.result_json, "headline": headline(result) if result else ""}
        connection.execute(update(versions).where(versions.c.id == version_id).values(**values))
        note_result(connection, version_id, result)
        # Documents of an earlier answer exist only where a person asked for another try of a skipped study.
        connection.execute(delete(deliveries).where(deliveries.c.version_id == version_id))
        connection.execute(delete(documents).where(documents.c.version_id == version_id))
        if kept:
            connection.execute(
                insert(documents),
                [{"version_id": version_id, "name": f.name, "path": f.path, "sha256": f.sha256, "size_bytes": f.size_bytes} for f in kept],
            )
        message = end.message.strip() or f"the analysis ended with exit code {end.exit_code}"
        if end.exit_code == EXIT_DONE:
            move(connection, version_id, State.MEASURED, reason=values["headline"] or message, actor=_ACTOR, now=now)
            self._dispatch(connection, version_id, now)
        elif end.exit_code == EXIT_NOT_EVALUABLE:
            code = str(result.flags[0].code) if result and result.flags else ""
            connection.execute(update(versions).where(versions.c.id == version_id).values(code=code))
            move(connection, version_id, State.SKIPPED, reason=message, actor=_ACTOR, now=now)
            if self._deliver_not_evaluable:
                post(connection, version_id, self._recipients, now)
        else:
            move(connection, version_id, State.FAILED, reason=message, actor=_ACTOR, now=now)

    def _dispatch(self, connection: Connection, version_id: int, now: float) -> None:
        parcels = post(connection, version_id, self._recipients, now)
        if parcels:
            names = ", ".join(sorted(self._recipients))
            move(connection, version_id, State.DELIVERING, reason=f"{parcels} documents on their way to {names}", actor=_ACTOR, now=now)
        else:
            move(
                connection,
                version_id,
                State.DONE,
                reason="no destination is configured; the documents are on the page",
                actor=_ACTOR,
                now=now,
            )

    def _after_break(self, lease: Lease, reason: str) -> None:
        now = self._clock()
        log.warning("attempt_failed", job_id=lease.job_id, version_id=lease.version_id, attempt=lease.attempt, reason=reason)
        with self._ledger.write() as connection:
            if lease.attempt >= self._settings.max_attempts:
                self._give_up(connection, lease, reason, now)
                return
            wait = min(self._settings.retry_seconds * 2 ** (lease.attempt - 1), _LONGEST_RETRY_SECONDS)
            if self._queue.put_back(connection, lease, error=reason, available_at=now + wait):
                text = f"attempt {lease.attempt} of {self._settings.max_attempts} failed: {reason}; again in {wait:g} s"
                move(connection, lease.version_id, State.QUEUED, reason=text, actor=_ACTOR, now=now)

    def _after_stop(self, lease: Lease) -> None:
        now = self._clock()
        with self._ledger.write() as connection:
            if self._queue.put_back(connection, lease, error="stopped", available_at=now, counts=False):
                move(
                    connection,
                    lease.version_id,
                    State.QUEUED,
                    reason="the service was stopped in good order; taken up again at its start",
                    actor=_ACTOR,
                    now=now,
                )

    def _give_up(self, connection: Connection, lease: Lease, reason: str, now: float) -> None:
        if not self._queue.bury(connection, lease, reason):
            return
        state = connection.execute(select(versions.c.state).where(versions.c.id == lease.version_id)).scalar_one()
        text = f"given up after {min(lease.attempt, self._settings.max_attempts)} attempts: {reason}"
        if state in (State.QUEUED, State.RUNNING):
            move(connection, lease.version_id, State.FAILED, reason=text, actor=_ACTOR, now=now)

    def _requeue(self, connection: Connection, leases: Sequence[Lease], why: str) -> int:
        now = self._clock()
        for lease in leases:
            row = connection.execute(select(versions).where(versions.c.id == lease.version_id)).one()
            if row.state == State.RUNNING:
                reason = f"{why} during attempt {lease.attempt}; the study is taken up again"
                move(connection, lease.version_id, State.QUEUED, reason=reason, actor=_ACTOR, now=now)
            else:
                add_event(connection, row.study_id, row.number, reason=f"{why}; job {lease.job_id} is ready again", actor=_ACTOR, now=now)
        return len(leases)
