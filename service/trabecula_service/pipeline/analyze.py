"""One analysis from input to files: read, segment, measure, calibrate, conclude, render. Never raises for what the input is."""

import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from trabecula_calibration.entries import CalibrationEntryError
from trabecula_calibration.phantom_definition import PhantomError
from trabecula_calibration.registry import Registry, parse_registry
from trabecula_morphometry.codes import Code
from trabecula_morphometry.errors import GeometryError, InputError
from trabecula_morphometry.foreign import mark_foreign
from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.volume import LabelVolume
from trabecula_service import __version__
from trabecula_service.dicom.image import CtImage, NotEvaluableError
from trabecula_service.dicom.joined_image import joined_image, joined_masks
from trabecula_service.pipeline.acquisition_file import AcquisitionFacts, override, read_acquisition_file
from trabecula_service.pipeline.conclude import conclude
from trabecula_service.pipeline.documents import superseded_objects, write_documents
from trabecula_service.pipeline.files import write_durably
from trabecula_service.pipeline.join_results import join_results
from trabecula_service.pipeline.measurement import measure_image
from trabecula_service.pipeline.phantom_in_scan import with_phantom_in_scan
from trabecula_service.pipeline.prior_densities import with_priors
from trabecula_service.pipeline.request import EXIT_DONE, EXIT_NOT_EVALUABLE, EXIT_UNREADABLE, AnalyzeOutcome, AnalyzeRequest, Progress
from trabecula_service.pipeline.segmented_stacks import SegmentedStack, one_line, segmented_stacks, series_of, unused_series
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.registry import render_all
from trabecula_service.result import Density, Flag, Result, Software, Source, flag
from trabecula_service.review.sign import sign_version

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
        stacks, notes = segmented_stacks(request, report)
        return _finish(request, stacks, notes, facts, registry, report)
    except NotEvaluableError as refusal:
        return _not_evaluable(request, refusal)
    except (InputError, CalibrationEntryError, PhantomError, GeometryError) as refusal:
        return AnalyzeOutcome(exit_code=EXIT_UNREADABLE, message=one_line(refusal))


def _read_registry(path: Path, request: AnalyzeRequest) -> Registry:
    try:
        return parse_registry(path.read_text(encoding="utf-8"), request.calibration_policy.rules)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the calibration file cannot be read", where=path.name, hint="check its path") from error


def _scaled(progress: Progress | None) -> Progress:
    if progress is None:
        return lambda _stage, _share: None
    return lambda stage, share: progress(stage, STAGE_SHARES[stage][0] + share * (STAGE_SHARES[stage][1] - STAGE_SHARES[stage][0]))


def _finish(
    request: AnalyzeRequest,
    stacks: Sequence[SegmentedStack],
    notes: Sequence[Flag],
    facts: AcquisitionFacts,
    registry: Registry,
    report: Progress,
) -> AnalyzeOutcome:
    """Measure the stacks, join them where they are several, and write everything."""
    report("measure", 0.0)
    measured, used, notes = [], [], list(notes)
    for stack in stacks:
        try:
            measured.append(_measured(request, stack, facts, registry))
            used.append(stack)
        except NotEvaluableError as refusal:
            if len(stacks) == 1 or (stack is stacks[-1] and not used):
                raise
            notes.append(unused_series(stack.image.source.series_number, one_line(refusal)))
    if len(used) == 1:
        result, image, bodies, posterior = measured[0][0], used[0].image, _with_foreign(used[0]), used[0].segmentation.posterior
    else:
        result, image, bodies, posterior = _joined(measured, used)
    result = result.model_copy(update={"flags": [*result.flags, *notes]})
    result = with_priors(result, request.priors, _acquired_on(image))
    return _write(request, result, image, bodies, posterior, report)


def _measured(request: AnalyzeRequest, stack: SegmentedStack, facts: AcquisitionFacts, registry: Registry) -> tuple[Result, Density]:
    """The result of one stack, and the basis of its levels' densities.

    Raises
    ------
    NotEvaluableError : the values or sizes are impossible.
    """
    started = time.perf_counter()
    image, segmentation = stack.image, stack.segmentation
    acquisition, overridden = override(image.acquisition, facts)
    on_date = _acquired_on(image) or request.created.date()
    with_phantom, phantom_flags = with_phantom_in_scan(image, acquisition, registry, request.calibration_policy.phantom, on_date)
    measured = measure_image(
        image, segmentation, acquisition, with_phantom, on_date=on_date, policy=request.calibration_policy, voi_style=request.voi_style
    )
    if measured.implausible is not None:
        raise NotEvaluableError(
            measured.implausible,
            where=series_of(image.source),
            detail=measured.implausible_why,
            source=image.source,
            acquisition=acquisition,
            image=image,
        )
    timing = {**stack.timing, "measure": time.perf_counter() - started}
    flags = [*image.flags, *phantom_flags, *([flag(Code.ACQUISITION_OVERRIDDEN, f"({', '.join(overridden)})")] if overridden else [])]
    software = Software(version=__version__, backend=segmentation.backend, weights_sha256=segmentation.weights_sha256)
    return conclude(image, segmentation, measured, software=software, flags=flags, timing_s=timing), measured.line


def _with_foreign(stack: SegmentedStack) -> LabelVolume:
    return mark_foreign(stack.image.volume.along_lps(), stack.segmentation.bodies, stack.segmentation.posterior)


def _joined(
    measured: Sequence[tuple[Result, Density]], stacks: Sequence[SegmentedStack]
) -> tuple[Result, CtImage, LabelVolume, LabelVolume]:
    """The result of the whole, and image, bodies and posterior elements of the whole."""
    image = joined_image([stack.image for stack in stacks])
    results = [
        result if result.density.mean_mg_cm3 is not None else result.model_copy(update={"density": line}) for result, line in measured
    ]
    joined = join_results(results, image.source)
    renumbered = [{LABEL_OF_LEVEL[old]: LABEL_OF_LEVEL[new] for old, new in taken.items()} for taken in joined.taken]
    grid = image.volume.grid
    bodies, posterior = joined_masks([(_with_foreign(stack), stack.segmentation.posterior) for stack in stacks], renumbered, grid)
    return joined.result, image, bodies, posterior


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
    return AnalyzeOutcome(exit_code=EXIT_NOT_EVALUABLE, message=one_line(refusal), result=result, files=tuple(files))


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
            superseded=superseded_objects(request),
            language=request.language,
        )
    )
