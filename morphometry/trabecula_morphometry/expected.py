"""Expected heights: what each body would measure if it were intact, from the patient's own unfractured vertebrae.

Two witnesses per position: the unfractured neighbours up to three levels away, each scaled by the normal ratio of the two levels, and
the vertebra's own posterior height where its posterior wall stands. They are joined by their variances in logarithms of height.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.levels import LEVELS_IN_ORDER
from trabecula_morphometry.norms import LEVEL_SD, NORMS, OWN_RATIO_SD, normal_heights_mm
from trabecula_morphometry.vertebra import Vector

MAX_LEVELS_AWAY = 3
INTACT_LOSS = 0.15
"""A neighbour that lost this much anywhere is no witness, although not graded yet (grade 1 begins at 0.20)."""

FREE_TURNS = 3
"""After so many turns a level that was dropped stays out: one that keeps changing sides is no witness, and the search comes to an end."""

POSTERIOR_STANDS_LOSS = 0.12
"""The own posterior height counts in full at no loss and not at all from this loss on."""

_POSTERIOR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelHeights:
    """Measured heights of one level: anterior, middle, posterior in mm, with one sigma each."""

    name: str
    heights_mm: tuple[float, float, float]
    sd_mm: tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExpectedHeights:
    """Expected heights of one level (anterior, middle, posterior, mm) with their relative standard deviation, and from whom."""

    heights_mm: Vector
    relative_sd: Vector
    references: tuple[str, ...]


def expected_heights(levels: Sequence[LevelHeights], sex: str | None = None) -> dict[str, ExpectedHeights | None]:
    """Expected heights of every level; None where no intact neighbour is within three levels.

    Parameters
    ----------
    levels : measured thoracic and lumbar levels, in any order.
    sex : "F", "M" or None.
    """
    ranks = _ranks([level.name for level in levels])
    scale = np.array([np.log(np.array(level.heights_mm) / normal_heights_mm(level.name, sex)) for level in levels]).reshape(-1, 3)
    variance = np.array([(np.array(level.sd_mm) / np.array(level.heights_mm)) ** 2 for level in levels]).reshape(-1, 3)
    intact = _seed_intact(scale, ranks)
    turns, settled = 0, False
    while not settled:
        log_expected, _, _ = _predict(scale, variance, ranks, intact)
        loss = 1.0 - np.exp(scale - log_expected)
        updated = np.where(np.isnan(loss).any(axis=1), intact, np.nan_to_num(loss).max(axis=1, initial=0.0) < INTACT_LOSS)
        if turns >= FREE_TURNS:
            updated &= intact
        settled = bool((updated == intact).all())
        intact, turns = updated, turns + 1
    log_expected, relative_sd, used = _predict(scale, variance, ranks, intact)
    out: dict[str, ExpectedHeights | None] = {}
    for i, level in enumerate(levels):
        if np.isnan(log_expected[i]).any():
            out[level.name] = None
            continue
        out[level.name] = ExpectedHeights(
            heights_mm=np.exp(log_expected[i]) * normal_heights_mm(level.name, sex),
            relative_sd=relative_sd[i],
            references=tuple(levels[j].name for j in used[i]),
        )
    return out


def _ranks(names: Sequence[str]) -> NDArray[np.int64]:
    """Position of each level in the patient's own column: T13 counts only where the patient has one."""
    order = [name for name in LEVELS_IN_ORDER if name in NORMS and (name != "T13" or "T13" in names)]
    return np.array([order.index(name) for name in names], dtype=np.int64)


def _seed_intact(scale: NDArray[np.float64], ranks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """First guess of the unfractured levels: front and middle agree with the own back, and the back is not low among its neighbours.

    The neighbours' upper range stands for the patient's scale, since fractures only take height away.
    """
    seeds = np.zeros(len(scale), dtype=bool)
    for i, own in enumerate(scale):
        window = scale[np.abs(ranks - ranks[i]) <= MAX_LEVELS_AWAY, _POSTERIOR]
        self_loss = 1.0 - np.exp(min(own[0], own[1]) - own[_POSTERIOR])
        back_loss = 1.0 - np.exp(own[_POSTERIOR] - np.quantile(window, 0.7))
        seeds[i] = self_loss < INTACT_LOSS and back_loss < INTACT_LOSS
    return seeds


def _predict(
    scale: NDArray[np.float64], variance: NDArray[np.float64], ranks: NDArray[np.int64], intact: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[NDArray[np.int64]]]:
    """Expected log scale (n, 3), its standard deviation (n, 3), and the references of each level; NaN without references."""
    mean, sd = np.full_like(scale, np.nan), np.full_like(scale, np.nan)
    used: list[NDArray[np.int64]] = []
    for i in range(len(scale)):
        away = np.abs(ranks - ranks[i])
        near = np.flatnonzero(intact & (away > 0) & (away <= MAX_LEVELS_AWAY))
        used.append(near)
        if near.size == 0:
            continue
        spread = LEVEL_SD**2 * (1.0 + 0.3 * (away[near] - 1))[:, None] + variance[near]
        neighbours, neighbours_variance = _robust_mean(scale[near], spread)
        mean[i], own_variance = neighbours, neighbours_variance + LEVEL_SD**2
        back_loss = 1.0 - np.exp(scale[i, _POSTERIOR] - neighbours[_POSTERIOR])
        trust = float(np.clip(1.0 - back_loss / POSTERIOR_STANDS_LOSS, 0.0, 1.0))
        if trust > 0:
            precision_own = trust / (OWN_RATIO_SD**2 + variance[i, _POSTERIOR])
            precision = 1.0 / own_variance[:_POSTERIOR]
            total = precision + precision_own
            mean[i, :_POSTERIOR] = (precision * neighbours[:_POSTERIOR] + precision_own * scale[i, _POSTERIOR]) / total
            own_variance[:_POSTERIOR] = 1.0 / total
        sd[i] = np.sqrt(own_variance)
    return mean, sd, used


def _robust_mean(values: NDArray[np.float64], variance: NDArray[np.float64]) -> tuple[Vector, Vector]:
    """Mean weighted by 1/variance; values further than two sigma from the median weigh less (Huber)."""
    distance = np.abs(values - np.median(values, axis=0)) / np.sqrt(variance)
    weight = np.minimum(1.0, 2.0 / np.maximum(distance, 1e-9)) / variance
    return (weight * values).sum(axis=0) / weight.sum(axis=0), 1.0 / weight.sum(axis=0)
