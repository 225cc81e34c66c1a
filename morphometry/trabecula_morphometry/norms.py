"""Normal heights and sizes of vertebral bodies, one row per level, with their sources.

Heights follow the definition of the six points: outer edge of the bony endplate, middle = mid depth, margins 2 mm inside the wall.

Sources
-------
- ``POSTERIOR_MM``: adult mean of both sexes. Steps T4-T9 about +2.5 %, T9-L1 +5 to 7 %, flat L1-L3, falling to L5 (NZ CT study, IJSSurgery
  table 6: L5 posterior F 25.5, M 26.8 mm; living adults on CT for the rest). Only ratios between near levels enter a grade, so that
  a common scale error cancels.
- ``ANTERIOR_TO_POSTERIOR``: Masharawi 2009 (PMC2899959 table 1, 240 dry spines, mean of the sexes) for T9-L5, confirmed by readings of
  nine CTs (T11 .91, T12 .92, L1 .94, L2 .98, L3 1.01, L4 1.07, L5 1.16); T1-T8 0.92-0.97, the apex of the kyphosis lowest.
- ``MIDDLE_TO_POSTERIOR``: the same CT readings (T11 .88, T12 .92, L1 .90, L2 .91, L3 .92, L4 1.00, L5 1.03), smoothed between levels.
- Sex: men's anterior ratio is 1.8 % and middle ratio 0.7 % lower than women's (Skeletal Radiol 1998;27:380).
- Depth, width: working table after Panjabi 1991/92, mean of the sexes; used for plausibility only.
"""

from dataclasses import dataclass

import numpy as np

from trabecula_morphometry.vertebra import Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelNorm:
    """Normal body of one level, mean of both sexes."""

    posterior_mm: float
    anterior_to_posterior: float
    middle_to_posterior: float
    depth_mm: float
    width_mm: float


def _row(posterior_mm: float, anterior: float, middle: float, depth_mm: float, width_mm: float) -> LevelNorm:
    return LevelNorm(
        posterior_mm=posterior_mm, anterior_to_posterior=anterior, middle_to_posterior=middle, depth_mm=depth_mm, width_mm=width_mm
    )


NORMS: dict[str, LevelNorm] = {
    "T1": _row(17.0, 0.96, 0.92, 18, 28),
    "T2": _row(17.8, 0.97, 0.92, 19, 27),
    "T3": _row(18.3, 0.96, 0.92, 21, 26),
    "T4": _row(18.7, 0.95, 0.92, 23, 25),
    "T5": _row(19.1, 0.94, 0.91, 24, 25),
    "T6": _row(19.6, 0.92, 0.91, 26, 26),
    "T7": _row(20.1, 0.92, 0.91, 27, 28),
    "T8": _row(20.6, 0.92, 0.91, 28, 30),
    "T9": _row(21.3, 0.925, 0.91, 29, 31),
    "T10": _row(22.6, 0.935, 0.91, 30, 32),
    "T11": _row(24.1, 0.905, 0.90, 31, 35),
    "T12": _row(25.7, 0.92, 0.905, 32, 39),
    "T13": _row(26.4, 0.925, 0.905, 32, 40),
    "L1": _row(27.1, 0.94, 0.905, 33, 41),
    "L2": _row(27.8, 0.975, 0.91, 34, 43),
    "L3": _row(27.9, 1.00, 0.92, 34, 44),
    "L4": _row(27.3, 1.05, 0.96, 35, 46),
    "L5": _row(26.0, 1.15, 1.02, 34, 47),
    "L6": _row(25.5, 1.17, 1.03, 34, 48),
}

OWN_RATIO_SD = 0.045
"""Spread between healthy people of Ha/Hp and Hm/Hp at one level (0.04-0.05)."""

LEVEL_SD = 0.035
"""Spread of one level's height about the patient's own scale; the published step spread of 0.05 between neighbours is sqrt(2) times it."""

_ANTERIOR_SEX = {"F": 1.009, "M": 0.991}
_MIDDLE_SEX = {"F": 1.0035, "M": 0.9965}


def normal_heights_mm(level: str, sex: str | None = None) -> Vector:
    """Normal anterior, middle and posterior height of a thoracic or lumbar level; the sex ("F", "M") turns the ratios a little."""
    norm = NORMS[level]
    ratios = [
        norm.anterior_to_posterior * _ANTERIOR_SEX.get(sex or "", 1.0),
        norm.middle_to_posterior * _MIDDLE_SEX.get(sex or "", 1.0),
        1.0,
    ]
    return np.array(ratios) * norm.posterior_mm
