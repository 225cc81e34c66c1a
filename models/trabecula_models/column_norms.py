"""What a column looks like at each level, in people lying in a scanner: how far apart its pedicles stand, and how it leans.

The figures lie beside the weights (`column_norms.json`), taken from the 2,116 scans of the VID data set by
`trabecula_models.training.column_norms`; here a reading of the levels is weighed by them.
"""

import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trabecula_models.bundle import WEIGHTS_FOLDER

NORMS_FILE = "column_norms.json"

PEDICLE_PERSON_SD = 0.13
"""Spread of the logarithm of a person's pedicle distances: 0.075 in VID; outlines of the product come out narrow or wide by up to 0.15
for a whole scan besides (seven real CTs, thick slices narrow)."""

PEDICLE_LEVEL_SD = 0.09
"""And from level to level of one person, what is usual at each level taken off: 0.04 to 0.06 in VID, 0.05 between VID and the outlines of
seven real CTs; a little more is taken, as those are few. Of 0.075 and 0.09, the second was wrong and sure less often in VID."""

TILT_PERSON_SD_DEG, TILT_STEP_SD_DEG = 4.0, 3.0
"""Added to the spread of VID: how a person lies, and the error of centres (1 mm in 20 to 36)."""

HEAVY_TAILS = 6.0
"""Degrees of freedom of the t distributions: scoliosis, fractures and metal make columns that a normal one would rule out."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ColumnNorms:
    """Usual figures by rank in the usual column (C1 = 0, T1 = 7, L1 = 19).

    Parameters
    ----------
    first_rank : rank of the first level that is known.
    log_pedicle_mm : (levels,) mean logarithm of the distance between pedicle roots as `pedicles` measures it, mm.
    tilt_deg, tilt_covariance : (levels - 1,) and square; how far the line from a centre to the next one above leans back.
    """

    first_rank: int
    log_pedicle_mm: NDArray[np.float64]
    tilt_deg: NDArray[np.float64]
    tilt_covariance: NDArray[np.float64]


@lru_cache(maxsize=1)
def column_norms() -> ColumnNorms:
    """The norms that come with the package."""
    data = json.loads((WEIGHTS_FOLDER / NORMS_FILE).read_text())
    return ColumnNorms(
        first_rank=int(data["first_rank"]),
        log_pedicle_mm=np.log(np.array(data["pedicle_distance_mm"])),
        tilt_deg=np.array(data["tilt_deg"]),
        tilt_covariance=np.array(data["tilt_covariance_deg2"]),
    )


def tilts_deg(centers_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the line from each centre to the one above leans back, (n - 1,) degrees; centres (n, 3) cranial to caudal."""
    up = centers_lps_mm[:-1] - centers_lps_mm[1:]
    tilt: NDArray[np.float64] = np.degrees(np.arctan2(up[:, 1], up[:, 2]))
    return tilt


def _between(positions: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """(positions, count) weights that interpolate, and go on straight for half a step beyond the last; held before the first."""
    at = np.clip(positions, 0.0, count - 0.5)
    lower = np.minimum(at.astype(int), count - 2)
    weights = np.zeros((len(at), count))
    rows = np.arange(len(at))
    weights[rows, lower] = lower + 1 - at
    weights[rows, lower + 1] = at - lower
    return weights


def _log_t(away: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
    """Logarithm of a multivariate t density, without terms that no reading changes."""
    squared = float(away @ np.linalg.solve(covariance, away))
    return -0.5 * (HEAVY_TAILS + len(away)) * float(np.log1p(squared / HEAVY_TAILS)) - 0.5 * float(np.linalg.slogdet(covariance)[1])


def pedicle_log_likelihood(norms: ColumnNorms, ranks: NDArray[np.float64], distance_mm: NDArray[np.float64]) -> float:
    """How well pedicle distances (n,) fit levels of these ranks (n,); NaN distances say nothing."""
    told = np.isfinite(distance_mm)
    if not told.any():
        return 0.0
    expected = _between(ranks[told] - norms.first_rank, len(norms.log_pedicle_mm)) @ norms.log_pedicle_mm
    count = len(expected)
    covariance = np.full((count, count), PEDICLE_PERSON_SD**2) + PEDICLE_LEVEL_SD**2 * np.eye(count)
    return _log_t(np.log(distance_mm[told]) - expected, covariance)


def tilt_log_likelihood(norms: ColumnNorms, ranks: NDArray[np.float64], tilt_deg: NDArray[np.float64]) -> float:
    """How well the lean of the column (n - 1,) fits levels of these ranks (n,); NaN says nothing."""
    told = np.isfinite(tilt_deg)
    if not told.any():
        return 0.0
    middle = (ranks[:-1] + ranks[1:]) / 2 - 0.5 - norms.first_rank
    weights = _between(middle[told], len(norms.tilt_deg))
    covariance = weights @ norms.tilt_covariance @ weights.T + TILT_PERSON_SD_DEG**2 + TILT_STEP_SD_DEG**2 * np.eye(len(weights))
    return _log_t(tilt_deg[told] - weights @ norms.tilt_deg, covariance)
