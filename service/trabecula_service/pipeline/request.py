"""One order to analyse an input, and its outcome: what the CLI, the service's worker and the tests share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from trabecula_models.backends.choice import BackendChoice
from trabecula_morphometry.voi import VoiStyle
from trabecula_service.pipeline.calibration_policy import CalibrationPolicy
from trabecula_service.render.languages import DEFAULT_LANGUAGE
from trabecula_service.result import Result
from trabecula_service.review.order import ReviewOrder

Progress = Callable[[str, float], None]
"""Called with the name of the stage and the share of the whole that is done, 0 to 1."""

EXIT_DONE = 0
EXIT_UNREADABLE = 2
EXIT_NOT_EVALUABLE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeRequest:
    """What to analyse and where to put the files.

    Parameters
    ----------
    input : DICOM folder, DICOM file, zip or NIfTI file.
    out : folder for the result's files; made if missing.
    created : date and time that the documents carry (the ledger's time of the result, so that the same version gives the same bytes).
    version : version of the study's result; part of the derived UIDs.
    series_uid, acquisition_number : choose this one instead of the best by the rules.
    rules_file : TOML with the rules that rate the series; those of the package where not given.
    join_stacks : whether a spine that lies in several series is measured in each and joined.
    acquisition_file : TOML with facts that override the header.
    calibration_file : TOML with calibration entries and QA checks.
    calibration_policy : what is allowed without an entry, contrast corrections, drift limits, a phantom under the patient.
    backend : what finds the vertebrae.
    voi_style : where the HU of a level are taken.
    language : of the sentences in the documents.
    priors : results of earlier studies of the same patient, in any order.
    reading_images : whether the images of the reading room are written too.
    superseded : DICOM documents of earlier versions that were sent out; a note that takes them back is made of them.
    optional_documents : names of documents that are made only where somebody wants them; others among the names do no harm.
    review : a reader's verdict on an earlier version: nothing is measured, its result is amended, signed and rendered anew.
    """

    input: Path
    out: Path
    created: datetime
    version: int = 1
    series_uid: str | None = None
    acquisition_number: int | None = None
    rules_file: Path | None = None
    join_stacks: bool = True
    acquisition_file: Path | None = None
    calibration_file: Path | None = None
    calibration_policy: CalibrationPolicy = field(default_factory=CalibrationPolicy)
    backend: BackendChoice = field(default_factory=BackendChoice)
    voi_style: VoiStyle = VoiStyle.TRABECULA
    language: str = DEFAULT_LANGUAGE
    priors: tuple[Result, ...] = ()
    reading_images: bool = False
    superseded: tuple[Path, ...] = ()
    optional_documents: frozenset[str] = frozenset()
    review: ReviewOrder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeOutcome:
    """What came of a request.

    ``exit_code`` 0: done (``result`` complete or partial); 2: input unreadable (``result`` None); 3: readable but nothing to measure
    (``result`` with status "not_evaluable", written as ``result.json``). ``message`` says what, where and what to do on one line,
    without patient data. ``files`` are the files written, by their contract names.
    """

    exit_code: int
    message: str
    result: Result | None = None
    files: tuple[Path, ...] = ()
