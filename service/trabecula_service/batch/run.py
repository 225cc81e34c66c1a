"""Runs a batch: a pool of analysis processes takes one study after another, and each outcome is on the disk before the next begins."""

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Event

from trabecula_models.backends.choice import BackendChoice
from trabecula_morphometry.voi import VoiStyle
from trabecula_service.batch.cases import BatchCase
from trabecula_service.batch.store import BatchFolder, Keep, Outcome, State
from trabecula_service.pipeline.calibration_policy import CalibrationPolicy
from trabecula_service.pipeline.request import EXIT_DONE, EXIT_NOT_EVALUABLE, AnalyzeRequest
from trabecula_service.queue.analysis_port import Analysis, Broken, Finished
from trabecula_service.render.languages import DEFAULT_LANGUAGE

ANALYSIS = "trabecula_service.pipeline.analyze:analyze_input"
"""What the analysis processes call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How every study is analysed; all of it is remembered in the out-folder and must stay the same when a run goes on."""

    backend: BackendChoice
    calibration_policy: CalibrationPolicy
    calibration_file: Path | None = None
    acquisition_file: Path | None = None
    voi_style: VoiStyle = VoiStyle.TRABECULA
    language: str = DEFAULT_LANGUAGE
    keep: Keep = Keep.ALL

    def settings(self, version: str, now: datetime) -> dict[str, str]:
        """As the out-folder remembers them; files by their content."""
        return {
            "version": version,
            "backend": str(self.backend),
            "calibration policy": str(self.calibration_policy),
            "calibration file": _sha256(self.calibration_file),
            "acquisition file": _sha256(self.acquisition_file),
            "volume of interest": self.voi_style.value,
            "language": self.language,
            "created": now.isoformat(),
        }


def run_batch(
    cases: Sequence[BatchCase],
    root: Path,
    folder: BatchFolder,
    options: BatchOptions,
    analyses: Sequence[Analysis],
    *,
    created: datetime,
    report: Callable[[Outcome], None],
    stopping: Event,
) -> None:
    """Analyse the cases, as many at a time as there are ``analyses``; returns early, with nothing half done, once ``stopping`` is set.

    ``report`` is called from this thread with each outcome. The analyses are closed at the end.
    """
    free: SimpleQueue[Analysis] = SimpleQueue()
    for analysis in analyses:
        free.put(analysis)
    waiting = list(reversed(cases))
    running: set[Future[Outcome | None]] = set()
    try:
        with ThreadPoolExecutor(len(analyses)) as pool:
            try:
                while running or (waiting and not stopping.is_set()):
                    while waiting and len(running) < len(analyses) and not stopping.is_set():
                        running.add(pool.submit(_one, waiting.pop(), root, folder, options, free, created, stopping))
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    for outcome in (future.result() for future in finished):
                        if outcome is not None:
                            report(outcome)
            except BaseException:
                # Without this the pool would wait for every study that is under way before an interrupt is heard.
                stopping.set()
                raise
    finally:
        for analysis in analyses:
            analysis.close()


def _one(
    case: BatchCase, root: Path, folder: BatchFolder, options: BatchOptions, free: SimpleQueue[Analysis], created: datetime, stopping: Event
) -> Outcome | None:
    """Analyse one study; None where it was stopped."""
    analysis, work, started = free.get(), folder.begin(case.name), time.monotonic()
    try:
        request = AnalyzeRequest(
            input=linked_files(work / "input", case.files) if case.kind == "dicom" else case.files[0],
            out=work / "out",
            created=created,
            acquisition_file=options.acquisition_file,
            calibration_file=options.calibration_file,
            calibration_policy=options.calibration_policy,
            backend=options.backend,
            voi_style=options.voi_style,
            language=options.language,
        )
        end = analysis.run(request, lambda _stage, _share: not stopping.is_set())
        if not isinstance(end, Finished | Broken):
            return None
        outcome = Outcome(
            case=case.name,
            fingerprint=case.fingerprint,
            state=_state(end),
            message=end.message if isinstance(end, Finished) else end.reason,
            seconds=round(time.monotonic() - started, 2),
            files=len(case.files),
            input=str((case.files[0].parent if case.kind == "dicom" else case.files[0]).relative_to(root)),
        )
        folder.finish(outcome, work, options.keep)
        return outcome
    finally:
        folder.drop(work)
        free.put(analysis)


def linked_files(folder: Path, files: Sequence[Path]) -> Path:
    """The files of a study, from wherever they lie, in one folder under numbers, so that equal names do not meet."""
    folder.mkdir()
    for number, source in enumerate(files):
        (folder / f"{number:06d}").symlink_to(source.resolve())
    return folder


def _state(end: Finished | Broken) -> State:
    if isinstance(end, Broken):
        return "failed"
    if end.exit_code == EXIT_DONE:
        return "measured"
    return "not_evaluable" if end.exit_code == EXIT_NOT_EVALUABLE else "unreadable"


def still_to_do(cases: Sequence[BatchCase], folder: BatchFolder, part: tuple[int, int]) -> list[BatchCase]:
    """Cases of this part without a final outcome for the files as they are now; those that failed come last."""
    fresh, failed = [], []
    for case in cases:
        if int(hashlib.sha256(case.name.encode()).hexdigest(), 16) % part[1] != part[0] - 1:
            continue
        known = folder.outcome(case.name)
        if known is None or known.fingerprint != case.fingerprint:
            fresh.append(case)
        elif known.state == "failed":
            failed.append(case)
    return [*fresh, *failed]


def _sha256(path: Path | None) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None else ""
