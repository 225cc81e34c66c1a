"""Where the ribs run in a torso: around its lungs, elsewhere under the fat of its trunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.synthesis.tissues import Tissue

ANGLES = np.linspace(0.0, np.pi, 48)
"""Around the trunk, from straight back to straight front."""

RIB_UNDER_WALL_MM, RIB_OUTSIDE_LUNG_MM = 6.0, 5.0
"""Where a rib's middle line runs: this deep under the fat of the trunk, and where there is lung inside, this far outside of it."""

LUNG_ROUND_SHARE = 0.4
"""Slices in which lung lies in this share of the directions of a side are thorax: ribs follow the lung there, not shoulders and arms."""

LEAST_DEPTH_MM = 10.0
"""The course keeps at least this far behind the middle of the trunk, and in front of it on the other side."""

SLICE_STEP = 6
RADIUS_STEP_MM = 2.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ChestWall:
    """Distance in mm of the ribs' course from a centre line: (slices, angles), one side each, every `SLICE_STEP` mm."""

    z_mm: NDArray[np.float64]
    centre_yx: NDArray[np.float64]
    radius_mm: dict[int, NDArray[np.float64]]

    def point(self, angle: float, z_mm: float, side: int, largest_mm: float) -> NDArray[np.float64]:
        """Point (z, y, x) of the course; angle 0 = back, side +1 = left."""
        row = np.clip(np.interp(z_mm, self.z_mm, np.arange(len(self.z_mm))), 0, len(self.z_mm) - 1)
        low = min(int(row), len(self.z_mm) - 2)
        part = row - low
        column = np.interp(angle, ANGLES, np.arange(len(ANGLES)))
        table = self.radius_mm[side]
        line = (1 - part) * table[low] + part * table[low + 1]
        radius = min(float(np.interp(column, np.arange(len(ANGLES)), line)), largest_mm)
        y, x = (1 - part) * self.centre_yx[low] + part * self.centre_yx[low + 1]
        return np.array([z_mm, y + radius * np.cos(angle), x + side * radius * np.sin(angle)])


def chest_wall(tissue: NDArray[np.uint8], column_x: NDArray[np.float64]) -> ChestWall:
    """Measure the course in a canvas at 1 mm: around the lung, elsewhere outwards to the first air, then back through skin and fat."""
    rows = np.arange(0, tissue.shape[0], SLICE_STEP)
    reach = np.arange(0, 215, RADIUS_STEP_MM)
    outer = np.isin(np.arange(256), (Tissue.AIR, Tissue.SKIN, Tissue.FAT, Tissue.TABLE))
    centres, radii = np.zeros((len(rows), 2)), {side: np.full((len(rows), len(ANGLES)), np.nan) for side in (1, -1)}
    lungs = {side: np.full((len(rows), len(ANGLES)), np.nan) for side in (1, -1)}
    for row, z in enumerate(rows):
        plane = tissue[z]
        x = float(column_x[z])
        inside = np.flatnonzero(~np.isin(plane[:, int(np.clip(x, 0, plane.shape[1] - 1))], (Tissue.AIR, Tissue.TABLE)))
        if len(inside) < 60:
            centres[row] = np.nan
            continue
        centre = np.array([(inside[0] + inside[-1]) / 2, x])
        centres[row] = centre
        for side in (1, -1):
            ys = np.rint(centre[0] + reach[None] * np.cos(ANGLES)[:, None]).astype(int)
            xs = np.rint(centre[1] + side * reach[None] * np.sin(ANGLES)[:, None]).astype(int)
            ok = (ys >= 0) & (ys < plane.shape[0]) & (xs >= 0) & (xs < plane.shape[1])
            seen = np.where(ok, plane[np.clip(ys, 0, plane.shape[0] - 1), np.clip(xs, 0, plane.shape[1] - 1)], Tissue.AIR)
            ends = np.where((seen == Tissue.AIR).any(1), np.argmax(seen == Tissue.AIR, axis=1), len(reach))
            firm = ~outer[seen] & (np.arange(len(reach))[None] < ends[:, None])
            radii[side][row] = _outermost(firm, reach) - RIB_UNDER_WALL_MM
            lungs[side][row] = _outermost(seen == Tissue.LUNG, reach) + RIB_OUTSIDE_LUNG_MM
    known = np.isfinite(centres[:, 0])
    if known.sum() < 2:
        raise ValueError("the torso is nowhere as deep as a trunk")
    for table in (*radii.values(), centres):
        for column in range(table.shape[1]):
            good = np.isfinite(table[:, column])
            table[:, column] = np.interp(rows, rows[good], table[good, column]) if good.any() else 100.0
    for side, table in radii.items():
        _follow_lung(table, lungs[side])
    smooth = {side: ndimage.gaussian_filter(ndimage.median_filter(table, 5), 1.5, mode="nearest") for side, table in radii.items()}
    return ChestWall(z_mm=rows.astype(float), centre_yx=ndimage.gaussian_filter1d(centres, 2, axis=0), radius_mm=smooth)


def _outermost(here: NDArray[np.bool_], reach_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest reach (n,) at which something is true in each row of (n, reaches), NaN where nowhere."""
    last = len(reach_mm) - 1 - np.argmax(here[:, ::-1], axis=1)
    return np.where(here.any(1), reach_mm[last], np.nan)


def _around(lung_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (angles,) of a course around the lung of one side that passes straight across behind it and in front of it."""
    known = np.flatnonzero(np.isfinite(lung_mm))
    course = np.interp(np.arange(len(lung_mm)), known, lung_mm[known])
    ends = ((known[0], slice(0, known[0]), 1.0), (known[-1], slice(known[-1] + 1, None), -1.0))
    for end, beyond, behind in ends:
        depth_mm = max(behind * float(lung_mm[end] * np.cos(ANGLES[end])), LEAST_DEPTH_MM)
        across = depth_mm / np.maximum(behind * np.cos(ANGLES[beyond]), 1e-6)
        course[beyond] = np.minimum(course[beyond], across)
    return course


def _follow_lung(course_mm: NDArray[np.float64], lung_mm: NDArray[np.float64]) -> None:
    """Let the course (slices, angles) run around the lung wherever a slice is thorax, and above the lung as at its tip (in place)."""
    seen = np.isfinite(lung_mm)
    thorax = np.flatnonzero(seen.mean(axis=1) >= LUNG_ROUND_SHARE)
    if len(thorax) == 0:
        return
    for row in thorax:
        course_mm[row] = _around(lung_mm[row])
    course_mm[thorax[-1] + 1 :] = course_mm[thorax[-1]]
    below = seen[: thorax[0]]
    course_mm[: thorax[0]][below] = lung_mm[: thorax[0]][below]
