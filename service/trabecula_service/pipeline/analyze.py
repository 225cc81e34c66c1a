"""One analysis from input to files: read, segment, measure, calibrate, conclude, render. Never raises for what the input is."""

import time
from datetime import date
from pathlib import Path

import numpy as np

from trabecula_calibration.entries import CalibrationEntryError
from trabecula_calibration.phantom_definition import PhantomError
from trabecula_calibration.registry import Registry, parse_registry
from trabecula_models.segmentation import SpineSegmentation
from trabecula_morphometry.codes import Code
from trabecula_morphometry.errors import GeometryError, InputError, TrabeculaError
from trabecula_morphometry.foreign import mark_foreign
from trabecula_morphometry.volume import LabelVolume
from trabecula_service import __version__
from trabecula_service.choose.rules import read_rules
from trabecula_service.dicom.image import CtImage, NotEvaluableError
from trabecula_service.dicom.read import open_input
from trabecula_service.pipeline.acquisition_file import AcquisitionFacts, override, read_acquisition_file
from trabecula_service.pipeline.conclude import conclude
from trabecula_service.pipeline.documents import write_documents
from trabecula_service.pipeline.files import write_durably
from trabecula_service.pipeline.measurement import measure_image
from trabecula_service.pipeline.networks import resident_backend
from trabecula_service.pipeline.phantom_in_scan import with_phantom_in_scan
from trabecula_service.pipeline.prior_densities import with_priors
from trabecula_service.pipeline.request import EXIT_DONE, EXIT_NOT_EVALUABLE, EXIT_UNREADABLE, AnalyzeOutcome, AnalyzeRequest, Progress
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.registry import render_all
from trabecula_service.result import Result, Software, Source, flag
from trabecula_service.review.sign import sign_version

WANTED_LEVELS = frozenset({"L1", "L2", "L3"})
"""When a series holds several acquisitions, the one that shows these best is reported."""

STAGE_SHARES: dict[str, tuple[float, float]] = {
    "read": (0.0, 0.2),
    "locate": (0.2, 0.35),
    "delineate": (0.35, 0.7),
    "measure": (0.7, 0.8),
    "render": (0.8, 1.0),
}
"""Where each stage lies in the whole, for the progress bar."""


def analyze_input(request: AnalyzeRequest, progress: Progress | None = None) -> AnalyzeOutcome:
    """Analyse one input and write the files of the contract (design.md section 4) into ``request.out``.

    What the input is decides the exit code: 0 measured, 2 unreadable, 3 readable but nothing to measure. Only faults of the program or
    of the disk raise, and a backend that cannot be loaded (ModelError). A request with a review measures nothing and signs.
    """
    report = _scaled(progress)
    if request.review is not None:
        return sign_version(request, request.review, report)
    facts = AcquisitionFacts()
    registry = Registry.of((), rules=request.calibration_policy.rules)
    try:
        facts = read_acquisition_file(request.acquisition_file) if request.acquisition_file else facts
        registry = _read_registry(request.calibration_file, request) if request.calibration_file else registry
        image, segmentation, timing = _best_candidate(request, report)
        return _finish(request, image, segmentation, facts, registry, timing, report)
    except NotEvaluableError as refusal:
        return _not_evaluable(request, refusal)
    except (InputError, CalibrationEntryError, PhantomError, GeometryError) as refusal:
        return AnalyzeOutcome(exit_code=EXIT_UNREADABLE, message=_one_line(refusal))


def _read_registry(path: Path, request: AnalyzeRequest) -> Registry:
    try:
        return parse_registry(path.read_text(encoding="utf-8"), request.calibration_policy.rules)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the calibration file cannot be read", where=path.name, hint="check its path") from error


def _scaled(progress: Progress | None) -> Progress:
    if progress is None:
        return lambda _stage, _share: None
    return lambda stage, share: progress(stage, STAGE_SHARES[stage][0] + share * (STAGE_SHARES[stage][1] - STAGE_SHARES[stage][0]))


def _best_candidate(request: AnalyzeRequest, report: Progress) -> tuple[CtImage, SpineSegmentation, dict[str, float]]:
    """The first candidate whose L1-L3 are in view, else the one that shows most of them.

    Raises
    ------
    NotEvaluableError : no candidate shows a vertebra.
    """
    report("read", 0.0)
    best: tuple[CtImage, SpineSegmentation, dict[str, float]] | None = None
    refusal: NotEvaluableError | None = None
    with open_input(
        request.input,
        series_uid=request.series_uid,
        acquisition_number=request.acquisition_number,
        rules=read_rules(request.rules_file),
    ) as offered:
        images = offered.images()
        while True:
            started = time.perf_counter()
            image = next(images, None)
            if image is None or (best is not None and image.source.series_instance_uid != best[0].source.series_instance_uid):
                break
            report("read", 1.0)
            read_s = time.perf_counter() - started
            segmentation = resident_backend(request.backend).segment(image.volume, report)
            if segmentation is None:
                refusal = refusal or NotEvaluableError(
                    Code.NO_SPINE, where=_series_of(image.source), source=image.source, acquisition=image.acquisition, image=image
                )
                continue
            if best is None or _wanted_seen(segmentation) > _wanted_seen(best[1]):
                best = (image, segmentation, {"read": read_s, **segmentation.timing_s})
            if _wanted_seen(segmentation) == len(WANTED_LEVELS):
                break
    if best is not None:
        return best
    raise refusal or NotEvaluableError(Code.NOT_CT, where=request.input.name)


def _wanted_seen(segmentation: SpineSegmentation) -> int:
    return sum(vertebra.complete and vertebra.name in WANTED_LEVELS for vertebra in segmentation.vertebrae)


def _series_of(source: Source) -> str:
    return f"series {source.series_instance_uid}" if source.series_instance_uid else "the image"


def _finish(
    request: AnalyzeRequest,
    image: CtImage,
    segmentation: SpineSegmentation,
    facts: AcquisitionFacts,
    registry: Registry,
    timing: dict[str, float],
    report: Progress,
) -> AnalyzeOutcome:
    started = time.perf_counter()
    report("measure", 0.0)
    acquisition, overridden = override(image.acquisition, facts)
    on_date = _acquired_on(image) or request.created.date()
    with_phantom, phantom_flags = with_phantom_in_scan(image, acquisition, registry, request.calibration_policy.phantom, on_date)
    measured = measure_image(
        image, segmentation, acquisition, with_phantom, on_date=on_date, policy=request.calibration_policy, voi_style=request.voi_style
    )
    if measured.implausible is not None:
        raise NotEvaluableError(
            measured.implausible,
            where=_series_of(image.source),
            detail=measured.implausible_why,
            source=image.source,
            acquisition=acquisition,
            image=image,
        )
    timing = {**timing, "measure": time.perf_counter() - started}
    flags = [*image.flags, *phantom_flags, *([flag(Code.ACQUISITION_OVERRIDDEN, f"({', '.join(overridden)})")] if overridden else [])]
    software = Software(version=__version__, backend=segmentation.backend, weights_sha256=segmentation.weights_sha256)
    result = conclude(image, segmentation, measured, software=software, flags=flags, timing_s=timing)
    result = with_priors(result, request.priors, _acquired_on(image))
    bodies = mark_foreign(image.volume.along_lps(), segmentation.bodies, segmentation.posterior)
    return _write(request, result, image, bodies, segmentation.posterior, report)


def _acquired_on(image: CtImage) -> date | None:
    """Day of the acquisition, as far as the header knows it."""
    header = image.headers[0] if image.headers else None
    for keyword in ("AcquisitionDate", "SeriesDate", "StudyDate"):
        value = str(getattr(header, keyword, "") or "")
        if len(value) == 8 and value.isdigit():
            try:
                return date(int(value[:4]), int(value[4:6]), int(value[6:]))
            except ValueError:
                continue
    return None


def _write(
    request: AnalyzeRequest, result: Result, image: CtImage, bodies: LabelVolume, posterior: LabelVolume, report: Progress
) -> AnalyzeOutcome:
    result, files = write_documents(request, result, image, bodies, posterior, report)
    return AnalyzeOutcome(exit_code=EXIT_DONE, message=_summary(result), result=result, files=files)


def _summary(result: Result) -> str:
    """One line for a person: status, levels, density, fractures."""
    names = [level.name for level in result.levels]
    density = result.density
    number = "no density" if density.mean_mg_cm3 is None else f"{density.mean_mg_cm3:.0f} mg/cm3 {density.material} ({density.basis})"
    fractured = ", ".join(result.fractures.levels)
    losses = (
        f"height loss of grade {result.fractures.max_grade} in {fractured}"
        if fractured
        else "no height loss >= 20 % detected in graded levels"
    )
    return f"{result.status}: {names[0]}-{names[-1]}{'' if result.numbering.certain else ' (names uncertain)'}; {number}; {losses}"


def _not_evaluable(request: AnalyzeRequest, refusal: NotEvaluableError) -> AnalyzeOutcome:
    source = refusal.source or Source(
        study_instance_uid=None, series_instance_uid=None, file_count=0, matrix=(0, 0, 0), spacing_mm=(0.0, 0.0, 0.0)
    )
    result = Result.model_validate(
        {
            "schema": "trabecula.result/1",
            "status": "not_evaluable",
            "software": Software(version=__version__, backend=request.backend.name.value, weights_sha256=""),
            "source": source,
            "flags": [flag(refusal.code, refusal.detail)],
        }
    )
    if refusal.acquisition is not None:
        result = result.model_copy(update={"acquisition": refusal.acquisition})
    files = [write_durably(request.out / name, content) for name, content in _refusal_documents(request, result, refusal.image).items()]
    files.append(write_durably(request.out / "result.json", result.to_json().encode()))
    return AnalyzeOutcome(exit_code=EXIT_NOT_EVALUABLE, message=_one_line(refusal), result=result, files=tuple(files))


def _refusal_documents(request: AnalyzeRequest, result: Result, image: CtImage | None) -> dict[str, bytes]:
    """The reports that say why nothing was measured, where the images are known well enough to name them."""
    if image is None:
        return {}
    nothing = LabelVolume(labels_zyx=np.zeros(image.volume.grid.shape_zyx, dtype=np.uint8), grid=image.volume.grid)
    return render_all(
        DocumentInput(
            result=result,
            image=image,
            bodies=nothing,
            posterior=nothing,
            created=request.created,
            version=request.version,
            language=request.language,
        )
    )


def _one_line(error: TrabeculaError) -> str:
    return " ".join(str(error).split())
