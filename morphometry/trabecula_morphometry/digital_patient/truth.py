"""What is known about a digital patient, in the words of a result, so that the two can be compared."""

from dataclasses import dataclass, replace

import numpy as np

from trabecula_morphometry.digital_patient.attenuation import DigitalPhantomLine
from trabecula_morphometry.digital_patient.column import VertebraPlan
from trabecula_morphometry.digital_patient.options import COLUMN_LEVELS, FractureShape, PatientOptions
from trabecula_morphometry.digital_patient.vertebra import midsagittal_points
from trabecula_morphometry.volume import Grid

PointLps = tuple[float, float, float]

_GRADE_LIMITS = (0.20, 0.25, 0.40)
"""Genant grades 1, 2 and 3 as in Loeffler 2020."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueHeights:
    """One value per position on the midsagittal plane, millimetres or fractions."""

    anterior: float
    middle: float
    posterior: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TruePoints:
    """Outer edge of the endplates on the midsagittal plane, LPS millimetres."""

    anterior_superior: PointLps
    anterior_inferior: PointLps
    middle_superior: PointLps
    middle_inferior: PointLps
    posterior_superior: PointLps
    posterior_inferior: PointLps


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelTruth:
    """One vertebra as it was made.

    ``density_k2hpo4_mg_cm3`` is what an error-free scan with the digital phantom would read in its trabecular bone. It is not the
    mass of mineral: fat in the marrow lowers the reading, in a patient as here, by about 14 mg/cm3 at 50 % fat and 120 kVp.
    """

    name: str
    center_lps_mm: PointLps
    points_lps_mm: TruePoints
    heights_mm: TrueHeights
    intact_mm: TrueHeights
    height_loss: TrueHeights
    genant_grade: int
    fracture_shape: FractureShape | None
    density_k2hpo4_mg_cm3: float
    trabecular_hu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientTruth:
    """Everything known about one digital patient; ``levels`` are those wholly in the field, cranial to caudal."""

    levels: tuple[LevelTruth, ...]
    age_years: int
    sex: str
    tube_voltage_kvp: int
    line: DigitalPhantomLine

    def level(self, name: str) -> LevelTruth:
        """The truth about one level; KeyError where the patient does not show it whole."""
        for level in self.levels:
            if level.name == name:
                return level
        raise KeyError(name)

    def mean_density_k2hpo4_mg_cm3(self, names: tuple[str, ...] = ("L1", "L2", "L3")) -> float:
        """Mean over levels, those with a fracture left out."""
        return float(np.mean([self.level(name).density_k2hpo4_mg_cm3 for name in names if self.level(name).genant_grade == 0]))


def truth_of(plans: tuple[VertebraPlan, ...], options: PatientOptions, line: DigitalPhantomLine, grid: Grid) -> PatientTruth:
    """Read the truth off the plan of the column; levels that the field cuts are left out."""
    levels = tuple(_level_truth(plan, options, line) for plan in plans if plan.name in COLUMN_LEVELS and _whole(plan, grid))
    return PatientTruth(levels=levels, age_years=options.age_years, sex=options.sex, tube_voltage_kvp=options.tube_voltage_kvp, line=line)


def grade_of_loss(loss: float) -> int:
    """Genant grade of the largest loss of height; equal to a limit takes the higher grade."""
    return sum(loss >= limit for limit in _GRADE_LIMITS)


def _whole(plan: VertebraPlan, grid: Grid) -> bool:
    reach = np.array([plan.width_mm, plan.depth_mm, plan.posterior_mm + 6]) / 2
    return bool(grid.contains(np.array([plan.center_lps_mm - reach, plan.center_lps_mm + reach])).all())


def _heights(plan: VertebraPlan) -> TrueHeights:
    points = midsagittal_points(plan)
    return TrueHeights(
        anterior=points.anterior_superior[1] - points.anterior_inferior[1],
        middle=points.middle_superior[1] - points.middle_inferior[1],
        posterior=points.posterior_superior[1] - points.posterior_inferior[1],
    )


def _level_truth(plan: VertebraPlan, options: PatientOptions, line: DigitalPhantomLine) -> LevelTruth:
    heights, intact = _heights(plan), _heights(_without_fracture(plan))
    loss = TrueHeights(
        anterior=1 - heights.anterior / intact.anterior,
        middle=1 - heights.middle / intact.middle,
        posterior=1 - heights.posterior / intact.posterior,
    )
    density = options.density_k2hpo4_mg_cm3[plan.name]
    local = midsagittal_points(plan)

    def to_lps(point: tuple[float, float]) -> PointLps:
        p = plan.center_lps_mm + plan.axes[1] * point[0] + plan.axes[2] * point[1]
        return (float(p[0]), float(p[1]), float(p[2]))

    points = TruePoints(**{name: to_lps(getattr(local, name)) for name in TruePoints.__dataclass_fields__})
    middle = (np.array(points.middle_superior) + np.array(points.middle_inferior)) / 2
    return LevelTruth(
        name=plan.name,
        center_lps_mm=(float(middle[0]), float(middle[1]), float(middle[2])),
        points_lps_mm=points,
        heights_mm=heights,
        intact_mm=intact,
        height_loss=loss,
        genant_grade=grade_of_loss(max(loss.anterior, loss.middle, loss.posterior)),
        fracture_shape=plan.fracture.shape if plan.fracture else None,
        density_k2hpo4_mg_cm3=density,
        trabecular_hu=line.hu_of(density),
    )


def _without_fracture(plan: VertebraPlan) -> VertebraPlan:
    return replace(plan, fracture=None)
