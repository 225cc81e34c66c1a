"""Measure and calibrate one segmented image: the adapter between what was read and the pure measurements."""

from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np

from trabecula_calibration.contrast import ContrastReading, Phase, read_contrast
from trabecula_calibration.density import PHANTOMLESS_MATERIAL, DensityAssessment, LevelHu, assess_density
from trabecula_calibration.density import Density as CalibratedDensity
from trabecula_calibration.matching import AcquisitionFacts as DensityFacts
from trabecula_calibration.registry import Registry
from trabecula_calibration.tissue import TissueReading, phantomless_line, read_tissues, tissue_disagreements
from trabecula_models.segmentation import SpineSegmentation
from trabecula_morphometry.codes import Code
from trabecula_morphometry.measure import ColumnMeasurement, LevelMeasurement, MeasureSettings, measure_column
from trabecula_morphometry.vertebra import VertebraInput
from trabecula_morphometry.voi import VoiStyle
from trabecula_service.dicom.image import CtImage
from trabecula_service.pipeline.calibration_policy import CalibrationPolicy
from trabecula_service.pipeline.phantom_in_scan import UNNAMED_SERIES
from trabecula_service.pipeline.slice_steps import SliceSteps, slice_steps
from trabecula_service.result import Acquisition, Contrast, Density, Flag, LevelDensity, UncertaintyPart, flag

HALF_BODY_MM = 18.0
"""Half the height of a tall lumbar body: a level closer than this to a gap between slices cannot be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What measuring and calibrating one image gave. ``implausible`` set: nothing was measured, ``implausible_why`` says why."""

    column: ColumnMeasurement
    acquisition: Acquisition
    density: Density
    level_densities: dict[str, LevelDensity]
    flags: tuple[Flag, ...]
    line: Density = field(default_factory=Density)
    """Basis, material and calibration of the level densities, also where too few levels made a mean."""
    implausible: Code | None = None
    implausible_why: str = ""


def measure_image(
    image: CtImage,
    segmentation: SpineSegmentation,
    acquisition: Acquisition,
    registry: Registry,
    *,
    on_date: date,
    policy: CalibrationPolicy,
    voi_style: VoiStyle = VoiStyle.TRABECULA,
) -> Measurement:
    """Heights, grades, HU and density of every level, and the contrast phase.

    Parameters
    ----------
    acquisition : facts of the header, already overridden by the user's.
    registry : the calibration registry.
    on_date : day of the acquisition where the header knows it, else of the analysis.
    voi_style : where the HU are taken. The categories of density hold for the default only.
    """
    steps = slice_steps(image)
    clipped = any(entry.code is Code.HU_CLIPPED for entry in image.flags)
    volume = image.volume.along_lps()
    column = measure_column(
        volume,
        segmentation.bodies,
        segmentation.posterior,
        [
            VertebraInput(
                name=v.name, label=v.label, center_lps_mm=v.center_lps_mm, complete=v.complete and not _at_gap(v.center_lps_mm, steps)
            )
            for v in segmentation.vertebrae
        ],
        slice_spacing_mm=steps.spacing_mm,
        age_years=acquisition.age_years,
        sex=acquisition.sex,
        hu_clipped_at=float(volume.hu_zyx.max()) if clipped else None,
        settings=MeasureSettings(voi_style=voi_style),
    )
    if column.implausible is not None:
        return Measurement(
            column=column,
            acquisition=acquisition,
            density=Density(),
            level_densities={},
            flags=(),
            implausible=column.implausible.code,
            implausible_why=column.implausible.detail,
        )
    whole_at_gap = {v.name for v in segmentation.vertebrae if v.complete and _at_gap(v.center_lps_mm, steps)}
    column = replace(column, levels=tuple(_name_gap(level) if level.name in whole_at_gap else level for level in column.levels))
    reading = _contrast(image, column, acquisition.contrast)
    acquisition = acquisition.model_copy(update={"contrast": reading[1]})
    tissues = read_tissues(image.volume, list(column.shapes.items()))
    assessment = _assess(column, acquisition, reading[0], registry, on_date, steps.spacing_mm, image, tissues, policy)
    if voi_style is not VoiStyle.TRABECULA:
        assessment = _of_another_place(assessment, voi_style)
    return Measurement(
        column=column,
        acquisition=acquisition,
        density=_density(assessment),
        level_densities={name: _level_density(value) for name, value in assessment.per_level.items()},
        line=_line(assessment),
        flags=(
            *_column_flags(column),
            *_density_flags(assessment),
            *_tissue_flags(tissues, acquisition.kvp, reading[0]),
            *_gap_flags(whole_at_gap),
            *_style_flags(voi_style),
        ),
    )


def _of_another_place(assessment: DensityAssessment, style: VoiStyle) -> DensityAssessment:
    """The density without its category: bone differs by up to 44 HU within a body, and the cut-offs hold for the front of it."""
    words = f"{assessment.explanation} HU taken in the volume of interest of {style.value}."
    return replace(assessment, category=None, category_source=None, explanation=words.strip())


def _style_flags(style: VoiStyle) -> list[Flag]:
    return [] if style is VoiStyle.TRABECULA else [flag(Code.VOI_STYLE, f"({style.value})")]


def _at_gap(center_lps_mm: tuple[float, float, float], steps: SliceSteps) -> bool:
    place = float(np.dot(center_lps_mm, steps.normal_lps))
    return steps.crosses_gap(place - HALF_BODY_MM, place + HALF_BODY_MM)


def _name_gap(level: LevelMeasurement) -> LevelMeasurement:
    """A whole body whose slices are missing: it is in view, so it is not cut, but it cannot be measured."""
    codes = [Code.SLICES_MISSING if code is Code.CUT_BY_FIELD else code for code in level.excluded]
    return replace(level, complete=True, excluded=tuple(code for code in codes if code is not Code.LEVEL_NOT_GRADED))


def _gap_flags(levels: set[str]) -> list[Flag]:
    return [flag(Code.SLICES_MISSING, "Not measured because slices of it are missing.", level) for level in sorted(levels)]


def _contrast(image: CtImage, column: ColumnMeasurement, known: Contrast) -> tuple[ContrastReading, Contrast]:
    """The phase: the user's word first, then the image. The header is no evidence: agents are entered or forgotten by habit."""
    if known.source == "user":
        return ContrastReading(phase=Phase(known.phase), confidence=1.0, source="user"), known
    seen = read_contrast(image.volume, list(column.shapes.items()))
    return seen, Contrast(phase=seen.phase.value, source=seen.source, confidence=round(seen.confidence, 3))


def _assess(
    column: ColumnMeasurement,
    acquisition: Acquisition,
    reading: ContrastReading,
    registry: Registry,
    on_date: date,
    slice_spacing_mm: float,
    image: CtImage,
    tissues: TissueReading,
    policy: CalibrationPolicy,
) -> DensityAssessment:
    hus = [
        LevelHu(
            name=level.name,
            mean_hu=level.voi.mean_hu,
            sd_hu=level.voi.sd_hu,
            volume_mm3=level.voi.volume_mm3,
            usable=level.usable_for_density(),
        )
        for level in column.levels
        if level.voi is not None
    ]
    facts = DensityFacts(
        kvp=acquisition.kvp,
        manufacturer=acquisition.manufacturer,
        model=acquisition.model,
        device_serial=acquisition.device_serial,
        kernel=acquisition.kernel,
        slice_spacing_mm=slice_spacing_mm,
        series_instance_uid=image.source.series_instance_uid or UNNAMED_SERIES,
    )
    own = (
        phantomless_line(tissues, acquisition.kvp, PHANTOMLESS_MATERIAL, enhanced=_is_enhanced(reading.phase), blood_hu=reading.aorta_hu)
        if policy.phantomless
        else None
    )
    return assess_density(
        hus,
        facts,
        reading,
        registry,
        on_date,
        acquisition.age_years,
        allow_estimate=policy.allow_estimate,
        phantomless=own,
        corrections=policy.corrections,
    )


def _is_enhanced(phase: Phase) -> bool:
    return phase not in (Phase.UNENHANCED, Phase.UNKNOWN)


def _tissue_flags(tissues: TissueReading, kvp: float | None, reading: ContrastReading) -> list[Flag]:
    blood_hu = reading.aorta_hu if reading.phase is Phase.UNENHANCED else None
    words = tissue_disagreements(tissues, kvp, enhanced=_is_enhanced(reading.phase), blood_hu=blood_hu)
    return [flag(Code.TISSUE_CHECK, f"({'; '.join(words)}).")] if words else []


def _density(assessment: DensityAssessment) -> Density:
    mean = assessment.mean
    if mean is None:
        return Density()
    return Density(
        mean_mg_cm3=round(mean.value_mg_cm3, 1),
        interval95=_interval(mean),
        levels=list(assessment.levels_used),
        basis=mean.basis.value,
        material=mean.material.value,
        calibration_id=assessment.calibration_id,
        category=assessment.category.value if assessment.category else None,
        category_source=assessment.category_source,
        contrast_correction_mg_cm3=assessment.contrast_correction_mg_cm3,
        explanation=assessment.explanation,
        calibration_from=assessment.calibration_from,
        uncertainty=[UncertaintyPart(name=part.name, sd_mg_cm3=round(part.sd_mg_cm3, 2)) for part in assessment.budget.parts],
    )


def _line(assessment: DensityAssessment) -> Density:
    """What the levels were calibrated with, without a mean."""
    one = next(iter(assessment.per_level.values()), None)
    if one is None:
        return Density()
    return Density(
        basis=one.basis.value,
        material=one.material.value,
        calibration_id=assessment.calibration_id,
        contrast_correction_mg_cm3=assessment.contrast_correction_mg_cm3,
        explanation=assessment.explanation,
        calibration_from=assessment.calibration_from,
    )


def _level_density(density: CalibratedDensity) -> LevelDensity:
    return LevelDensity(value_mg_cm3=round(density.value_mg_cm3, 1), interval95=_interval(density))


def _interval(density: CalibratedDensity) -> tuple[float, float]:
    return round(density.interval95[0], 1), round(density.interval95[1], 1)


def _column_flags(column: ColumnMeasurement) -> list[Flag]:
    return [flag(entry.code, entry.detail, entry.level) for entry in column.flags]


def _density_flags(assessment: DensityAssessment) -> list[Flag]:
    """The codes about the density; the line's explanation goes to the code that speaks of the calibration."""
    about_line = {
        Code.NO_CALIBRATION,
        Code.KVP_MISMATCH,
        Code.SCANNER_MISMATCH,
        Code.KERNEL_MISMATCH,
        Code.CALIBRATION_EXPIRED,
        Code.CALIBRATION_DRIFT,
    }
    return [flag(code, assessment.explanation if code in about_line else "") for code in assessment.codes]
