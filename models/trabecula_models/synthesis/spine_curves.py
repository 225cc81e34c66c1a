"""Real curves of the spine: how the line through the bodies leans and turns, level by level (VID data set).

Kyphosis, lordosis, scoliosis and axial rotation come from 2,116 scans; a curve is applied to any column by `assembly`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.synthesis.sources import shared_folder

RANKS = np.arange(8, 25)
"""T1 to L5, VerSe ids."""

FEWEST_LEVELS = 7
LARGEST_LEAN_DEG, LARGEST_TURN_DEG = 55.0, 25.0
"""Beyond this a curve is a labelling slip of the table, not a spine that a routine CT shows."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SpineCurve:
    """Angles (17, 3) in radians at T1-L5: lean of the line backwards and to the left going up, and turn about it."""

    scan: str
    angles_of_rank_rad: NDArray[np.float64]

    def angles_rad(self, ranks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Angles (n, 3) at ranks (T1 = 8 .. L5 = 24), between levels interpolated."""
        return np.stack([np.interp(ranks, RANKS, self.angles_of_rank_rad[:, k]) for k in range(3)], 1)

    @property
    def cobb_deg(self) -> float:
        """Largest difference of the sideways lean between two levels, an estimate of the Cobb angle."""
        return float(np.degrees(np.ptp(self.angles_of_rank_rad[:, 1])))


def _scan_angles(levels: NDArray[np.int_], body: NDArray[np.float64], left: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles at the levels of one scan (NaN elsewhere); points are LPS mm, `left` the line from the right to the left pedicle."""
    order = np.argsort(levels)
    levels, body, left = levels[order], body[order], left[order]
    up = -np.gradient(body, axis=0)
    own = np.stack([np.arctan2(up[:, 1], up[:, 2]), np.arctan2(up[:, 0], up[:, 2]), np.arctan2(left[:, 1], left[:, 0])], 1)
    own = ndimage.gaussian_filter1d(own, 0.7, axis=0, mode="nearest")
    angles = np.full((len(RANKS), 3), np.nan)
    angles[levels - RANKS[0]] = own
    return angles


def _continued(angles: NDArray[np.float64], usual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Beyond its ends a curve goes on like the usual one, turned to meet it; gaps inside are interpolated."""
    known = np.flatnonzero(np.isfinite(angles[:, 0]))
    full = np.stack([np.interp(np.arange(len(angles)), known, angles[known, k]) for k in range(3)], 1)
    full[: known[0]] = usual[: known[0]] + (angles[known[0]] - usual[known[0]])
    full[known[-1] + 1 :] = usual[known[-1] + 1 :] + (angles[known[-1]] - usual[known[-1]])
    return full


@lru_cache(maxsize=2)
def read_curves(table: Path | None = None) -> tuple[SpineCurve, ...]:
    """Read every usable curve of the table (at least seven levels of T1-L5), by scan name.

    Parameters
    ----------
    table : `vid_keypoints.parquet`; default: the one in the source material.
    """
    import pandas as pd  # extra `train`

    points = pd.read_parquet(table or shared_folder() / "anatomy" / "tables" / "vid_keypoints.parquet")
    rank = {f"T{k}": 7 + k for k in range(1, 13)} | {f"L{k}": 19 + k for k in range(1, 6)}
    points = points[points.level.isin(list(rank))].drop_duplicates(["scan", "level", "point"])
    wide = points.pivot(index=["scan", "level"], columns="point", values=["x", "y", "z"]).dropna().sort_index()
    scans = wide.index.get_level_values("scan").to_numpy(str)
    ranks = np.array([rank[name] for name in wide.index.get_level_values("level")])
    body, left, right = (wide[[("x", p), ("y", p), ("z", p)]].to_numpy(float) for p in ("body", "left", "right"))
    found: list[tuple[str, NDArray[np.float64]]] = []
    starts = np.flatnonzero(np.concatenate([[True], scans[1:] != scans[:-1]]))
    for begin, end in zip(starts, [*starts[1:], len(scans)], strict=True):
        if end - begin < FEWEST_LEVELS:
            continue
        angles = _scan_angles(ranks[begin:end], body[begin:end], (left - right)[begin:end])
        largest = np.degrees(np.nanmax(np.abs(angles), axis=0))
        if largest[:2].max() < LARGEST_LEAN_DEG and largest[2] < LARGEST_TURN_DEG:
            found.append((str(scans[begin]), angles))
    usual = np.nanmean([angles for _, angles in found], axis=0)
    return tuple(SpineCurve(scan=scan, angles_of_rank_rad=_continued(angles, usual)) for scan, angles in found)


def draw_curve(rng: np.random.Generator, *, least_cobb_deg: float = 0.0) -> SpineCurve:
    """Draw a curve of the table, among those with at least this sideways curve."""
    usable = [curve for curve in read_curves() if curve.cobb_deg >= least_cobb_deg]
    return usable[int(rng.integers(len(usable)))]
