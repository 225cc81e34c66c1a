"""The stacks of an input that are measured: the best one and, where the spine goes on in other series, those; vertebrae found in each."""

import time
from dataclasses import dataclass, replace

from trabecula_models.segmentation import SpineSegmentation
from trabecula_morphometry.codes import CODE_TABLE, Code
from trabecula_morphometry.errors import InputError, TrabeculaError
from trabecula_service.choose.rules import read_rules
from trabecula_service.dicom.candidates import Candidate
from trabecula_service.dicom.image import CtImage, NotEvaluableError
from trabecula_service.dicom.read import CandidateList, open_input
from trabecula_service.pipeline.networks import resident_backend
from trabecula_service.pipeline.request import AnalyzeRequest, Progress
from trabecula_service.result import Flag, Source, flag

WANTED_LEVELS = frozenset({"L1", "L2", "L3"})
"""When a series holds several acquisitions, the one that shows these best is reported."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SegmentedStack:
    """One stack with its vertebrae found."""

    image: CtImage
    segmentation: SpineSegmentation
    timing: dict[str, float]


def segmented_stacks(request: AnalyzeRequest, report: Progress) -> tuple[list[SegmentedStack], list[Flag]]:
    """The best stack and those that show the rest of the spine, where one series does not show it all; first the one that shows L1-L3.

    Raises
    ------
    NotEvaluableError : no candidate shows a vertebra.
    """
    report("read", 0.0)
    with open_input(
        request.input,
        series_uid=request.series_uid,
        acquisition_number=request.acquisition_number,
        rules=read_rules(request.rules_file),
    ) as offered:
        best, chosen = _best_candidate(request, offered, report)
        # Who names a series or an acquisition wants that one.
        asked_for = request.series_uid is not None or request.acquisition_number is not None
        wanted = () if chosen is None or asked_for or not request.join_stacks else offered.companions(chosen)
        if chosen is None or not wanted:
            return [best], []
        others: dict[Candidate, SegmentedStack] = {}
        notes = []
        for candidate in wanted:
            found = _segmented_companion(request, offered, candidate, report)
            if isinstance(found, Flag):
                notes.append(found)
            else:
                others[candidate] = found
        if not others:
            return [best], []
        unused = set(offered.flags_about_others(chosen))
        flags = [entry for entry in best.image.flags if entry not in unused] + list(offered.flags_about_others(chosen, wanted))
        stacks = [replace(best, image=replace(best.image, flags=tuple(flags))), *others.values()]
        # The lumbar stack stands for the study where the rules liked a longer one of the chest better.
        return sorted(stacks, key=lambda stack: -_wanted_seen(stack.segmentation)), notes


def _best_candidate(request: AnalyzeRequest, offered: CandidateList, report: Progress) -> tuple[SegmentedStack, Candidate | None]:
    """The first candidate whose L1-L3 are in view, else the one of its series that shows most of them."""
    best: tuple[SegmentedStack, Candidate | None] | None = None
    refusal: NotEvaluableError | None = None
    images = offered.offers()
    while True:
        started = time.perf_counter()
        image, candidate = next(images, (None, None))
        if image is None or (best is not None and image.source.series_instance_uid != best[0].image.source.series_instance_uid):
            break
        found = _segmented(request, image, started, report)
        if found is None:
            refusal = refusal or NotEvaluableError(
                Code.NO_SPINE, where=series_of(image.source), source=image.source, acquisition=image.acquisition, image=image
            )
            continue
        if best is None or _wanted_seen(found.segmentation) > _wanted_seen(best[0].segmentation):
            best = found, candidate
        if _wanted_seen(found.segmentation) == len(WANTED_LEVELS):
            break
    if best is not None:
        return best
    raise refusal or NotEvaluableError(Code.NOT_CT, where=request.input.name)


def _segmented(request: AnalyzeRequest, image: CtImage, started: float, report: Progress) -> SegmentedStack | None:
    report("read", 1.0)
    read_s = time.perf_counter() - started
    segmentation = resident_backend(request.backend).segment(image.volume, report)
    return (
        None
        if segmentation is None
        else SegmentedStack(image=image, segmentation=segmentation, timing={"read": read_s, **segmentation.timing_s})
    )


def _segmented_companion(request: AnalyzeRequest, offered: CandidateList, candidate: Candidate, report: Progress) -> SegmentedStack | Flag:
    """A stack beside the best one; a flag that says why it gives nothing. The best one's result stands without it."""
    started = time.perf_counter()
    try:
        found = _segmented(request, offered.decode(candidate), started, report)
    except InputError as refusal:
        return unused_series(candidate.series_number, one_line(refusal))
    return unused_series(candidate.series_number, CODE_TABLE[Code.NO_SPINE].text) if found is None else found


def unused_series(series_number: int | None, why: str) -> Flag:
    """A flag about a series that might have been part of the whole."""
    series = "A series without number" if series_number is None else f"Series {series_number}"
    return flag(Code.OTHER_SERIES, f"{series}, next to the one that was measured: {why}")


def _wanted_seen(segmentation: SpineSegmentation) -> int:
    return sum(vertebra.complete and vertebra.name in WANTED_LEVELS for vertebra in segmentation.vertebrae)


def series_of(source: Source) -> str:
    """How messages call the series of a source."""
    return f"series {source.series_instance_uid}" if source.series_instance_uid else "the image"


def one_line(error: TrabeculaError) -> str:
    """The text of an error without line breaks."""
    return " ".join(str(error).split())
