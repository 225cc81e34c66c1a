"""The density of other levels of the same study, on the line that it was measured with.

A reader leaves a level out or renames the column. The calibration stays what it was on that day: slope, doubt and basis are taken from
the densities that the levels already carry, not looked up again in a registry that may have changed since.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trabecula_calibration.contrast import Phase
from trabecula_calibration.density import MIN_LEVELS, Basis, Category, Density, LevelHu, category_of, levels_for_mean, voi_sd
from trabecula_calibration.physics import Material

_NORMAL_95 = 1.96
_LEAST_HU_RANGE = 5.0
"""Below this range of HU rounding would spoil the slope that two levels give."""

_USUAL_SLOPE = 0.8
"""mg/cm3 per HU around 120 kVp (clinical-facts 1); only used for the small part of noise where the levels are too alike to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelReading:
    """A level's HU and the density that it was given with them."""

    hu: LevelHu
    value_mg_cm3: float
    interval95: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenMean:
    """The mean over the levels used, None where fewer than two are usable."""

    mean: Density | None
    levels_used: tuple[str, ...]
    category: Category | None


def mean_of_chosen(
    levels: Sequence[LevelReading], *, material: Material, basis: Basis, phase: Phase, age_years: float | None, barred: bool
) -> ChosenMean:
    """Mean, interval and category over the usable levels.

    Parameters
    ----------
    levels : all levels with a density, in any order, named as they are to be called now.
    material, basis, phase : as the densities were measured.
    barred : whether the calibration allows no category (expired, drifted).

    Notes
    -----
    An interval holds a common part (line, contrast, drift, patient size) and the noise of the volume of interest. The noise averages over
    levels, the common part does not.
    """
    by_name = {level.hu.name: level for level in levels}
    used = [by_name[hu.name] for hu in levels_for_mean([level.hu for level in levels])]
    if len(used) < MIN_LEVELS:
        return ChosenMean(mean=None, levels_used=(), category=None)
    slope = _slope(levels)
    noise = np.array([voi_sd(level.hu, slope) for level in used])
    half = np.array([0.5 * (level.interval95[1] - level.interval95[0]) for level in used]) / _NORMAL_95
    common = float(np.sqrt(np.maximum(half**2 - noise**2, 0.0)).mean())
    sd = float(np.hypot(common, np.sqrt((noise**2).sum()) / len(used)))
    value = float(np.mean([level.value_mg_cm3 for level in used]))
    interval = (value - _NORMAL_95 * sd, value + _NORMAL_95 * sd)
    mean = Density(value_mg_cm3=value, interval95=interval, material=material, basis=basis)
    category, _ = category_of(mean, phase, age_years, barred=barred)
    return ChosenMean(mean=mean, levels_used=tuple(level.hu.name for level in used), category=category)


def _slope(levels: Sequence[LevelReading]) -> float:
    hu = np.array([level.hu.mean_hu for level in levels])
    if hu.size < 2 or np.ptp(hu) < _LEAST_HU_RANGE:
        return _USUAL_SLOPE
    return float(np.polyfit(hu, np.array([level.value_mg_cm3 for level in levels]), 1)[0])
