"""Signed distances of simple solids (negative inside, millimetres) and how they join.

Distances of ellipsoids and scaled capsules are first-order: exact at the surface, which is where they are used.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
"""Values over voxels; single precision wherever the volume is large."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Coordinates of voxels in some frame, one array (or broadcastable part) per axis, millimetres."""

    x: Field
    y: Field
    z: Field

    def in_frame(self, center_mm: NDArray[np.float64], axes: NDArray[np.float64]) -> "Points":
        """The same voxels in a frame whose unit vectors are the rows of ``axes``."""
        dx, dy, dz = ((c - np.float32(o)) for c, o in zip((self.x, self.y, self.z), center_mm, strict=True))
        m = axes.astype(np.float32)
        return Points(*(dx * row[0] + dy * row[1] + dz * row[2] for row in m))


def capsule(
    points: Points,
    start_mm: tuple[float, float, float],
    end_mm: tuple[float, float, float],
    radius_mm: tuple[float, float],
    stretch_z: float = 1.0,
) -> Field:
    """A rod from start to end whose radius runs from the first to the second value, stretched along z."""
    squeeze = np.float32(1.0 / stretch_z)
    a = np.array([start_mm[0], start_mm[1], start_mm[2] * squeeze], dtype=np.float32)
    d = np.array([end_mm[0], end_mm[1], end_mm[2] * squeeze], dtype=np.float32) - a
    x, y, z = points.x - a[0], points.y - a[1], points.z * squeeze - a[2]
    along = np.clip((x * d[0] + y * d[1] + z * d[2]) / np.float32(d @ d), 0, 1)
    distance = np.sqrt((x - along * d[0]) ** 2 + (y - along * d[1]) ** 2 + (z - along * d[2]) ** 2)
    result: Field = distance - (radius_mm[0] + along * np.float32(radius_mm[1] - radius_mm[0]))
    return result


def ellipsoid(points: Points, center_mm: tuple[float, float, float], radii_mm: tuple[float, float, float]) -> Field:
    """An ellipsoid parallel to the axes."""
    x, y, z = ((c - np.float32(o)) / np.float32(r) for c, o, r in zip((points.x, points.y, points.z), center_mm, radii_mm, strict=True))
    inside_one = np.sqrt(x * x + y * y + z * z)
    slope = np.sqrt((x / radii_mm[0]) ** 2 + (y / radii_mm[1]) ** 2 + (z / radii_mm[2]) ** 2) / np.maximum(inside_one, 1e-3)
    result: Field = ((inside_one - 1) / np.maximum(slope, np.float32(0.5 / max(radii_mm)))).astype(np.float32)
    return result


def ellipse(x_mm: Field, y_mm: Field, radii_mm: tuple[Field | float, Field | float], exponent: float = 2.0) -> Field:
    """A cylinder along z with elliptic (or, for a larger exponent, squarer) cross-section; radii may change from voxel to voxel."""
    n = np.float32(exponent)
    u, v = np.abs(x_mm / radii_mm[0]) + np.float32(1e-4), np.abs(y_mm / radii_mm[1]) + np.float32(1e-4)
    if exponent == 2.0:
        level = np.sqrt(u * u + v * v)
        slope = np.sqrt((u / radii_mm[0]) ** 2 + (v / radii_mm[1]) ** 2) / level
    else:
        level = (u**n + v**n) ** (1 / n)
        slope = level ** (1 - n) * np.hypot(u ** (n - 1) / radii_mm[0], v ** (n - 1) / radii_mm[1])
    result: Field = ((level - 1) / slope).astype(np.float32)
    return result


def join(*solids: Field, blend_mm: float = 1.5) -> Field:
    """Union with a rounded groove of about ``blend_mm``."""
    total = solids[0]
    for other in solids[1:]:
        h = np.clip(0.5 + 0.5 * (other - total) / np.float32(blend_mm), 0, 1)
        total = other * (1 - h) + total * h - np.float32(blend_mm) * h * (1 - h)
    return total


def intersect_rounded(first: Field, second: Field, radius_mm: float) -> Field:
    """Intersection whose edge is rounded with a radius."""
    r = np.float32(radius_mm)
    a, b = first + r, second + r
    result: Field = np.minimum(np.maximum(a, b), 0) + np.sqrt(np.maximum(a, 0) ** 2 + np.maximum(b, 0) ** 2) - r
    return result


def coverage(distance_mm: Field, blur_mm: float) -> Field:
    """Share of a blurred voxel that a solid fills: the edge response of a bell-shaped point spread of SD ``blur_mm``.

    A smooth step of width w has SD w / sqrt(20); unlike that of a Gaussian its reach is finite.
    """
    t = np.clip(np.float32(0.5) - distance_mm * np.float32(1 / (np.sqrt(20) * blur_mm)), 0, 1)
    result: Field = t * t * (3 - 2 * t)
    return result
