"""How the bodies of a column lie in the scan: where up, back and left are at each, also in a person on one hip or a twisted column."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ARCH_RISE_MM, ARCH_REACH_MM, ARCH_BEHIND_MM = 14.0, 60.0, 8.0
"""What is taken for a body's arch: posterior elements within this of its height and of its centre, and further behind than this (half the
depth of a small body)."""

MIDDLE_STRIPS_MM = (30.0, 20.0, 14.0, 14.0)
"""Half the width of the strip behind a body whose middle is its arch's, look by look. The first is wide enough for a spinous process 35 mm
behind a body turned by 40 degrees; the last holds laminae and spinous process, so a rib or a process that is out of view on one side
does not pull."""

LEAST_ARCH_MM3 = 170.0
"""Less says nothing: a crumb, or an arch at the end of the view. Unverified: a choice."""

TURNED_WITH = 2
"""How many neighbours on either side a body is turned with: the median over them. Vertebrae of a scoliosis turn by 5 degrees or less from
one to the next (general knowledge, unverified); single arches are bent, cut or broken."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ColumnPose:
    """The bodies of a column, cranial to caudal, as they lie.

    Parameters
    ----------
    centers_lps_mm : (n, 3) centres.
    axes : (n, 3, 3) for each body the rows up, back and left, LPS.
    """

    centers_lps_mm: NDArray[np.float64]
    axes: NDArray[np.float64]

    def seen_from(self, index: int, points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far points (m, 3) rise above a body's centre, lie behind it and to the left of it, (3, m) mm."""
        seen: NDArray[np.float64] = self.axes[index] @ (points_lps_mm - self.centers_lps_mm[index]).T
        return seen

    def step_below_mm(self, index: int) -> float:
        """Distance to the centre of the next body, of the last one as far as to the one above; infinite where there is one body only."""
        if len(self.centers_lps_mm) < 2:
            return float("inf")
        upper = min(index, len(self.centers_lps_mm) - 2)
        return float(np.linalg.norm(self.centers_lps_mm[upper] - self.centers_lps_mm[upper + 1]))


def upright_axes(centers_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Axes (n, 3, 3) of bodies that are not turned: up along the line of their neighbours, back as far as that allows.

    One body alone shows no line and stands upright.
    """
    axes = np.empty((len(centers_lps_mm), 3, 3))
    for index in range(len(centers_lps_mm)):
        along = centers_lps_mm[max(index - 1, 0)] - centers_lps_mm[min(index + 1, len(centers_lps_mm) - 1)]
        up = along / np.linalg.norm(along) if len(centers_lps_mm) > 1 else np.array([0.0, 0.0, 1.0])
        back = np.array([0.0, 1.0, 0.0]) - up[1] * up
        back /= np.linalg.norm(back)
        axes[index] = up, back, np.cross(back, up)
    return axes


def column_pose(centers_lps_mm: NDArray[np.float64], arch_lps_mm: NDArray[np.float64], voxel_mm3: float) -> ColumnPose:
    """The pose of a column, turned about its own line as its arches show.

    Parameters
    ----------
    centers_lps_mm : (n, 3) centres of the bodies, cranial to caudal.
    arch_lps_mm : (m, 3) centres of the voxels of posterior elements.
    voxel_mm3 : volume of such a voxel.
    """
    upright = upright_axes(centers_lps_mm)
    turned = np.array([_turned(axes, arch_lps_mm - center, voxel_mm3) for axes, center in zip(upright, centers_lps_mm, strict=True)])
    if np.isnan(turned).all():
        return ColumnPose(centers_lps_mm=centers_lps_mm, axes=upright)
    axes = np.array([_turn(one, angle) for one, angle in zip(upright, _smoothed(turned), strict=True)])
    return ColumnPose(centers_lps_mm=centers_lps_mm, axes=axes)


def _turn(axes: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Axes turned about the first, back towards left, by radians."""
    up, back, left = axes
    return np.stack([up, np.cos(angle) * back + np.sin(angle) * left, np.cos(angle) * left - np.sin(angle) * back])


def _turned(axes: NDArray[np.float64], away_mm: NDArray[np.float64], voxel_mm3: float) -> float:
    """By how much a body is turned, radians: where the middle of its arch lies; NaN where little of one is seen.

    ``away_mm`` (m, 3) leads from the body's centre to the voxels of posterior elements.
    """
    arch = away_mm[(np.abs(away_mm @ axes[0]) < ARCH_RISE_MM) & (np.linalg.norm(away_mm, axis=1) < ARCH_REACH_MM)]
    angle = 0.0
    for strip_mm in MIDDLE_STRIPS_MM:
        _, behind, aside = _turn(axes, angle) @ arch.T
        middle = (np.abs(aside) < strip_mm) & (behind > ARCH_BEHIND_MM)
        if middle.sum() * voxel_mm3 < LEAST_ARCH_MM3:
            return float("nan")
        angle += float(np.arctan2(aside[middle].mean(), behind[middle].mean()))
    return angle


def _smoothed(turned: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median over each body and its neighbours, at the ends over as many inside; 0 where none of them says anything."""
    width = 2 * TURNED_WITH + 1
    first = np.clip(np.arange(len(turned)) - TURNED_WITH, 0, max(len(turned) - width, 0))
    around = [turned[start : start + width] for start in first]
    return np.array([np.nanmedian(some) if np.isfinite(some).any() else 0.0 for some in around])
