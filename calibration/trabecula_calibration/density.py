"""From trabecular HU to a reported density: a number, a material, a basis and an interval, or the codes that say why not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from trabecula_calibration.contrast import ContrastReading, Phase
from trabecula_calibration.contrast_correction import ContrastCorrections
from trabecula_calibration.entries import CalibrationEntry
from trabecula_calibration.matching import AcquisitionFacts, Match, NoMatch, match_entry
from trabecula_calibration.physics import ESTIMATE_OFFSET_SD_MG_CM3, ESTIMATE_SLOPE_RELATIVE_SD, Material, physics_slope
from trabecula_calibration.registry import Registry
from trabecula_calibration.tissue import PhantomlessLine
from trabecula_calibration.uncertainty import Budget, Part, combined
from trabecula_morphometry.codes import Code
from trabecula_morphometry.errors import TrabeculaError
from trabecula_morphometry.levels import DENSITY_FALLBACK_LEVELS, DENSITY_LEVELS

LOW_BELOW_MG_CM3 = 80.0
NORMAL_ABOVE_MG_CM3 = 120.0
CATEGORY_SOURCE = "ACR/ISCD QCT: < 80 low, 80-120 intermediate, > 120 mg/cm3 normal (K2HPO4-type QCT)"
CATEGORY_AGE_YEARS = 50.0
ADULT_YEARS = 18.0
MIN_LEVELS = 2
CORRECTED_MARGIN_MG_CM3 = 20.0
"""A contrast-corrected value this near above a cut-off is never called normal (clinical-facts 1)."""

ESTIMATE_MATERIAL = Material.HA
"""The estimate is in HA: the published single-energy lines that the physics row was checked against are HA lines (0.78 at 120 kVp)."""

THICK_SLICE_MM = 5.0
THICK_SLICE_RELATIVE_SD = 0.05


DRIFT_HU_PER_YEAR = 1.5
"""HU that a scanner may have moved since the last phantom scan: 0.55 to 2.29 HU per year (Loeffler 2019)."""

PATIENT_SIZE_RELATIVE_SD = 0.02
"""A patient hardens the beam unlike a phantom: -1.6 +- 3.5 % in clinical scans, -1.2 +- 1.7 % in controlled ones (Dudle 2024)."""

PHANTOMLESS_OFFSET_SD_MG_CM3 = 9.0
PHANTOMLESS_RELATIVE_SD = 0.08
"""Without pre-calibration 0.5 +- 8.8 and 12.6 +- 13.2 mg/cm3 (Bartenschlager 2023), besides the slope's own doubt."""

PHANTOMLESS_MATERIAL = Material.HA

VOI_PLACE_SD_HU = 2.7
"""Where in the body the volume of interest lies: front and back differ by up to 44 HU over some 25 mm (Front Endocrinol 2024, 1398367),
1.8 HU per mm, and masks scatter by 1.5 mm."""

VOI_INDEPENDENT_MM3 = 27.0
"""Noise and trabecular texture are correlated over some 3 mm in each direction."""

CATEGORY_BARRING_CODES = frozenset({Code.CALIBRATION_EXPIRED, Code.CALIBRATION_DRIFT})


class Basis(StrEnum):
    """What a density rests on."""

    CALIBRATED = "calibrated"
    SIMULTANEOUS = "simultaneous"
    PHANTOMLESS = "phantomless"
    ESTIMATE = "estimate"


class Category(StrEnum):
    """Bands of the mean density."""

    LOW = "low"
    INTERMEDIATE = "intermediate"
    NORMAL = "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """A density cannot be built without its material, its basis and its interval."""

    value_mg_cm3: float
    interval95: tuple[float, float]
    material: Material
    basis: Basis

    def __post_init__(self) -> None:
        """The interval must hold the value."""
        low, high = self.interval95
        if not low <= self.value_mg_cm3 <= high:
            raise TrabeculaError("the interval does not hold the density", hint="report this as a fault of the software")


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelHu:
    """Trabecular attenuation of one level; ``usable`` False keeps it out of the mean, its own density is still given."""

    name: str
    mean_hu: float
    sd_hu: float
    volume_mm3: float
    usable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DensityAssessment:
    """Everything that is said about the density of a study.

    ``mean`` None: no number, the codes say why. ``budget`` names the one-sigma parts of the mean's uncertainty in mg/cm3.
    """

    mean: Density | None
    levels_used: tuple[str, ...]
    per_level: dict[str, Density]
    calibration_id: str | None
    explanation: str
    category: Category | None
    category_source: str | None
    contrast_correction_mg_cm3: float | None
    budget: Budget
    codes: tuple[Code, ...]
    calibration_from: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    slope: float
    intercept: float
    offset_sd: float
    relative_sd: float
    material: Material
    basis: Basis
    calibration_id: str | None
    explanation: str
    codes: tuple[Code, ...]
    age_days: int = 0
    valid_from: date | None = None


def assess_density(
    level_hus: Sequence[LevelHu],
    facts: AcquisitionFacts,
    phase: ContrastReading,
    entries: Sequence[CalibrationEntry] | Registry,
    on_date: date,
    age_years: float | None,
    *,
    allow_estimate: bool = True,
    phantomless: PhantomlessLine | None = None,
    corrections: ContrastCorrections | None = None,
) -> DensityAssessment:
    """Density of a study from the HU of its levels.

    Parameters
    ----------
    level_hus : measured levels, in any order.
    facts : how the image was made.
    phase : contrast phase, from the image or from the user.
    entries : the calibration registry.
    on_date : day of the acquisition (for the entry's validity).
    age_years : None where unknown; no category then.
    allow_estimate : whether a density without an entry may be estimated from physics.
    phantomless : a line from the patient's own tissue, used instead of the estimate where it is given.
    corrections : what contrast adds to the density per phase; the published means where not given.
    """
    used_corrections = corrections or ContrastCorrections()
    line = _choose_line(facts, entries, on_date, allow_estimate, phantomless)
    if isinstance(line, NoMatch):
        return _without_number(line.codes, line.explanation)
    correction = used_corrections.subtract_mg_cm3(phase.phase)
    codes = [*line.codes, *_contrast_codes(phase.phase)]
    if line.material is Material.HA:
        codes.append(Code.MATERIAL_MISMATCH)
    per_level = {level.name: _density([level], line, phase.phase, used_corrections, facts)[0] for level in level_hus}
    used = levels_for_mean(level_hus)
    if len(used) < MIN_LEVELS:
        return DensityAssessment(
            mean=None,
            levels_used=(),
            per_level=per_level,
            calibration_id=line.calibration_id,
            explanation=line.explanation,
            category=None,
            category_source=None,
            contrast_correction_mg_cm3=correction or None,
            budget=Budget(parts=()),
            codes=(*codes, Code.TOO_FEW_LEVELS),
            calibration_from=line.valid_from,
        )
    mean, budget = _density(used, line, phase.phase, used_corrections, facts)
    category, category_codes = category_of(mean, phase.phase, age_years, barred=bool(CATEGORY_BARRING_CODES & set(line.codes)))
    return DensityAssessment(
        mean=mean,
        levels_used=tuple(level.name for level in used),
        per_level=per_level,
        calibration_id=line.calibration_id,
        explanation=line.explanation + fallback_words([level.name for level in used]),
        category=category,
        category_source=CATEGORY_SOURCE if category else None,
        contrast_correction_mg_cm3=correction or None,
        budget=budget,
        codes=(*codes, *category_codes),
        calibration_from=line.valid_from,
    )


def _without_number(codes: tuple[Code, ...], explanation: str) -> DensityAssessment:
    return DensityAssessment(
        mean=None,
        levels_used=(),
        per_level={},
        calibration_id=None,
        explanation=explanation,
        category=None,
        category_source=None,
        contrast_correction_mg_cm3=None,
        budget=Budget(parts=()),
        codes=codes,
    )


def _choose_line(
    facts: AcquisitionFacts,
    entries: Sequence[CalibrationEntry] | Registry,
    on_date: date,
    allow_estimate: bool,
    phantomless: PhantomlessLine | None,
) -> _Line | NoMatch:
    match = match_entry(facts, entries, on_date)
    if isinstance(match, Match):
        return _Line(
            slope=match.entry.slope_mg_cm3_per_hu,
            intercept=match.entry.intercept_mg_cm3,
            offset_sd=match.entry.residual_sd_mg_cm3,
            relative_sd=match.relative_sd,
            material=match.entry.material,
            basis=Basis.SIMULTANEOUS if match.simultaneous else Basis.CALIBRATED,
            calibration_id=match.entry.id,
            explanation=match.explanation,
            codes=match.codes,
            age_days=0 if match.simultaneous else match.age_days,
            valid_from=match.entry.valid_from,
        )
    if phantomless is not None:
        return _Line(
            slope=phantomless.slope_mg_cm3_per_hu,
            intercept=phantomless.intercept_mg_cm3,
            offset_sd=PHANTOMLESS_OFFSET_SD_MG_CM3,
            relative_sd=PHANTOMLESS_RELATIVE_SD,
            material=phantomless.material,
            basis=Basis.PHANTOMLESS,
            calibration_id=None,
            explanation=f"{match.explanation} Calibrated on the patient's own fat and muscle.",
            codes=match.codes,
        )
    slope = physics_slope(facts.kvp, ESTIMATE_MATERIAL) if facts.kvp is not None else None
    if slope is None or not allow_estimate:
        return match
    return _Line(
        slope=slope,
        intercept=0.0,
        offset_sd=ESTIMATE_OFFSET_SD_MG_CM3,
        relative_sd=ESTIMATE_SLOPE_RELATIVE_SD,
        material=ESTIMATE_MATERIAL,
        basis=Basis.ESTIMATE,
        calibration_id=None,
        explanation=f"{match.explanation} Estimated from physics at {facts.kvp:g} kVp.",
        codes=match.codes,
    )


def _contrast_codes(phase: Phase) -> tuple[Code, ...]:
    if phase is Phase.UNENHANCED:
        return ()
    return (Code.CONTRAST_UNKNOWN,) if phase is Phase.UNKNOWN else (Code.CONTRAST_PHASE,)


def levels_for_mean(level_hus: Sequence[LevelHu]) -> list[LevelHu]:
    """L1-L3 where at least two are usable, else T12 and L4 join."""
    usable = {level.name: level for level in level_hus if level.usable}
    first = [usable[name] for name in DENSITY_LEVELS if name in usable]
    if len(first) >= MIN_LEVELS:
        return first
    return [
        usable[name] for name in ("T12", *DENSITY_LEVELS, "L4") if name in usable and name in (*DENSITY_LEVELS, *DENSITY_FALLBACK_LEVELS)
    ]


def fallback_words(used: Sequence[str]) -> str:
    """Says so where levels outside L1-L3 had to help; put behind the explanation of the line."""
    others = [name for name in used if name not in DENSITY_LEVELS]
    return f"; fewer than two of L1-L3 could be used, so {' and '.join(others)} joined" if others else ""


def without_fallback_words(explanation: str) -> str:
    """The explanation of the line alone: which levels were used may change, the line does not."""
    return explanation.split("; fewer than two of L1-L3 could be used")[0]


def _density(
    levels: Sequence[LevelHu], line: _Line, phase: Phase, corrections: ContrastCorrections, facts: AcquisitionFacts
) -> tuple[Density, Budget]:
    """Mean over levels with its budget. Noise averages over levels; line, contrast and slices do not."""
    values = [line.slope * level.mean_hu + line.intercept for level in levels]
    uncorrected = sum(values) / len(values)
    mean = uncorrected - corrections.subtract_mg_cm3(phase)
    noise = sum(voi_sd(level, line.slope) ** 2 for level in levels) ** 0.5 / len(levels)
    size_sd = PATIENT_SIZE_RELATIVE_SD if line.basis is Basis.CALIBRATED else 0.0
    thick = facts.slice_spacing_mm is not None and facts.slice_spacing_mm > THICK_SLICE_MM + 0.05
    size = max(abs(uncorrected), 1.0)
    budget = combined(
        Part(name="calibration line", sd_mg_cm3=line.offset_sd),
        Part(
            name="scanner, kernel and dates" if line.basis is Basis.CALIBRATED else "slope from physics", sd_mg_cm3=line.relative_sd * size
        ),
        Part(name="volume of interest", sd_mg_cm3=noise),
        Part(name="contrast", sd_mg_cm3=corrections.sd_mg_cm3(phase)),
        Part(name="drift since the last phantom scan", sd_mg_cm3=line.slope * DRIFT_HU_PER_YEAR * line.age_days / 365.25),
        Part(name="patient size", sd_mg_cm3=size_sd * size),
        Part(name="thick slices", sd_mg_cm3=THICK_SLICE_RELATIVE_SD * size if thick else 0.0),
    )
    reach = 1.96 * budget.sd_mg_cm3
    return Density(value_mg_cm3=mean, interval95=(mean - reach, mean + reach), material=line.material, basis=line.basis), budget


def voi_sd(level: LevelHu, slope: float) -> float:
    """Noise of a VOI mean, and where in the body it lies."""
    independent = max(level.volume_mm3 / VOI_INDEPENDENT_MM3, 1.0)
    return slope * float((level.sd_hu**2 / independent + VOI_PLACE_SD_HU**2) ** 0.5)


def category_of(mean: Density, phase: Phase, age_years: float | None, *, barred: bool) -> tuple[Category | None, tuple[Code, ...]]:
    """Band of a calibrated mean; with contrast only where the whole interval lies in one band. 80.0 and 120.0 are the middle band."""
    if codes := age_codes(age_years):
        return None, codes
    if barred or mean.basis not in (Basis.CALIBRATED, Basis.SIMULTANEOUS):
        return None, ()
    if mean.interval95[0] < LOW_BELOW_MG_CM3 and mean.interval95[1] > NORMAL_ABOVE_MG_CM3:
        # An interval over all three bands says nothing about the band.
        return None, ()
    band = _band(mean.value_mg_cm3)
    if phase is Phase.UNENHANCED:
        return band, ()
    if _band(mean.interval95[0]) is not _band(mean.interval95[1]):
        return None, ()
    near_limit = band is Category.NORMAL and mean.value_mg_cm3 - NORMAL_ABOVE_MG_CM3 < CORRECTED_MARGIN_MG_CM3
    return (None if near_limit else band), ()


def age_codes(age_years: float | None) -> tuple[Code, ...]:
    """Why an age allows no category; empty where it does."""
    if age_years is None:
        return (Code.AGE_UNKNOWN,)
    return (Code.AGE_BELOW_LIMIT,) if age_years < CATEGORY_AGE_YEARS else ()


def _band(value_mg_cm3: float) -> Category:
    if value_mg_cm3 < LOW_BELOW_MG_CM3:
        return Category.LOW
    return Category.INTERMEDIATE if value_mg_cm3 <= NORMAL_ABOVE_MG_CM3 else Category.NORMAL
