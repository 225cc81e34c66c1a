"""Everything measured becomes one ``Result``: what is complete, what is partial, and what the reader should see first."""

from collections.abc import Sequence
from typing import Literal

from trabecula_models.segmentation import NameDecision, SpineSegmentation
from trabecula_morphometry.codes import Code
from trabecula_morphometry.genant import FractureSummary
from trabecula_morphometry.measure import LevelMeasurement
from trabecula_morphometry.vertebra import ThreeHeights
from trabecula_service.dicom.image import CtImage
from trabecula_service.pipeline.measurement import Measurement
from trabecula_service.result import (
    Alternative,
    Density,
    Flag,
    Fractures,
    Genant,
    HeightLoss,
    Heights,
    Level,
    LevelDensity,
    Numbering,
    Result,
    SixPoints,
    Software,
    TrabecularHu,
    flag,
)

WANTED_FOR_COMPLETE = ("L1", "L2", "L3")
"""A complete result has HU, heights and a grade for each of these; anything less is partial."""


def conclude(
    image: CtImage,
    segmentation: SpineSegmentation,
    measured: Measurement,
    *,
    software: Software,
    flags: Sequence[Flag],
    timing_s: dict[str, float],
) -> Result:
    """The result of one analysed image."""
    confidence = {vertebra.name: vertebra.confidence for vertebra in segmentation.vertebrae}
    levels = [_level(level, confidence[level.name], measured.level_densities.get(level.name)) for level in measured.column.levels]
    numbering = _numbering(segmentation.numbering)
    all_flags = unique_flags([*flags, *measured.flags, *numbering_flags(numbering)])
    return Result.model_validate(
        {
            "schema": "trabecula.result/1",
            "status": status_of(levels, measured.density),
            "software": software,
            "source": image.source,
            "acquisition": measured.acquisition,
            "numbering": numbering,
            "levels": levels,
            "density": measured.density,
            "fractures": fractures_of(measured.column.fractures),
            "flags": all_flags,
            "timing_s": timing_s,
        }
    )


def status_of(levels: list[Level], density: Density) -> Literal["complete", "partial"]:
    """Complete where each of L1-L3 has HU, heights and a grade and the study has a density."""
    by_name = {level.name: level for level in levels}
    whole = all(
        name in by_name and by_name[name].hu is not None and by_name[name].heights_mm is not None and by_name[name].genant.grade is not None
        for name in WANTED_FOR_COMPLETE
    )
    return "complete" if whole and density.mean_mg_cm3 is not None else "partial"


def _level(measured: LevelMeasurement, confidence: float, density: LevelDensity | None) -> Level:
    heights, loss, grade, voi = measured.heights, measured.loss, measured.genant, measured.voi
    return Level(
        name=measured.name,
        confidence=confidence,
        center_lps_mm=_rounded_point(measured.center_lps_mm),
        complete=measured.complete,
        heights_mm=_heights(heights.heights_mm, 2) if heights else None,
        heights_sd_mm=_heights(heights.heights_sd_mm, 2) if heights else None,
        points_lps_mm=SixPoints(**{name: _rounded_point(getattr(heights.points_lps_mm, name)) for name in SixPoints.model_fields})
        if heights
        else None,
        expected_mm=_heights(measured.expected_mm, 2) if measured.expected_mm else None,
        height_loss=HeightLoss(**_heights(loss.positions, 4).model_dump(), max=round(loss.max, 4)) if loss else None,
        genant=Genant(
            grade=grade.grade,
            type=grade.type.value if grade.type else None,
            probability=_rounded_probability(grade.probability),
        )
        if grade
        else Genant(),
        hu=TrabecularHu(
            style=voi.style.value,
            mean=round(voi.mean_hu, 1),
            median=round(voi.median_hu, 1),
            sd=round(voi.sd_hu, 1),
            volume_mm3=round(voi.volume_mm3, 1),
            center_lps_mm=_rounded_point(voi.center_lps_mm),
        )
        if voi
        else None,
        density=density,
        excluded=list(measured.excluded),
    )


def _rounded_probability(probability: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    p0, p1, p2, p3 = (round(float(p), 4) for p in probability)
    return p0, p1, p2, p3


def _heights(values: ThreeHeights, digits: int) -> Heights:
    return Heights(anterior=round(values.anterior, digits), middle=round(values.middle, digits), posterior=round(values.posterior, digits))


def _rounded_point(point: Sequence[float]) -> tuple[float, float, float]:
    return round(float(point[0]), 2), round(float(point[1]), 2), round(float(point[2]), 2)


def _numbering(decision: NameDecision) -> Numbering:
    return Numbering(
        certain=decision.certain,
        anchors=list(decision.anchors),
        variants=list(decision.variants),
        alternatives=[Alternative(shift=entry.shift, probability=entry.probability) for entry in decision.alternatives],
    )


def numbering_flags(decision: Numbering) -> list[Flag]:
    """What the reader should know about the names."""
    flags = []
    if not decision.certain:
        others = ", ".join(f"{entry.shift:+d} ({entry.chance})" for entry in decision.alternatives[:3])
        flags.append(flag(Code.NUMBERING_UNCERTAIN, f"Shift of all names and its probability: {others}."))
    if decision.variants:
        flags.append(flag(Code.VARIANT_ANATOMY, f"Signs of: {', '.join(variant.replace('_', ' ') for variant in decision.variants)}."))
    return flags


def fractures_of(summary: FractureSummary) -> Fractures:
    """The summary of the grades as the result holds it."""
    return Fractures(
        max_grade=summary.max_grade,
        levels=list(summary.levels),
        spinal_deformity_index=summary.spinal_deformity_index,
        spinal_deformity_index_complete=summary.spinal_deformity_index_complete,
        headline=summary.headline,
    )


def unique_flags(flags: Sequence[Flag]) -> list[Flag]:
    """Each flag once, in order."""
    kept: dict[tuple[str, str | None, str], Flag] = {}
    for entry in flags:
        kept.setdefault((entry.code, entry.level, entry.text), entry)
    return list(kept.values())
