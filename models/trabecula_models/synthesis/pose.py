"""Pose and shape of one patient on the table: maps every point of a whole scan to a point of the scene, slab by slab."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trabecula_models.synthesis.body_split import BodyFrame
from trabecula_models.synthesis.warp import Collapse, Field, apply_collapse, rotation

COARSE_KNOT_MM, FINE_KNOT_MM = 48.0, 18.0
REACH_MM = 720.0
"""Length of the field that the smooth deformation is drawn over; longer than any scan of a trunk."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pose:
    """Backward map from scan (mm from the middle, z superior, y posterior, x left) to scene (mm = voxels).

    `collapses` are fractures by index into the scene's frames. `steps` are breathing steps: above the height (mm) all that lies
    in front of the column is shifted by so many mm along y and z.
    """

    focus_zyx: NDArray[np.float64]
    matrix: NDArray[np.float64]
    bend_per_mm: tuple[float, float]
    coarse: NDArray[np.float32]
    fine: NDArray[np.float32]
    collapses: dict[int, Collapse]
    steps: tuple[tuple[float, float, float], ...] = ()

    def scene_points(self, z_mm: NDArray[np.float64], y_mm: NDArray[np.float64], x_mm: NDArray[np.float64]) -> Field:
        """Scene coordinates (3, z, y, x) of the grid that the three axes span."""
        z, y, x = z_mm[:, None, None], y_mm[None, :, None], x_mm[None, None, :]
        y = (y + self.bend_per_mm[0] * z * z).astype(np.float32)
        x = (x + self.bend_per_mm[1] * z * z).astype(np.float32)
        m = self.matrix.astype(np.float32)
        points = np.stack([m[i, 0] * z.astype(np.float32) + m[i, 1] * y + m[i, 2] * x for i in range(3)])
        points += self.focus_zyx.astype(np.float32)[:, None, None, None]
        for control in (self.coarse, self.fine):
            points += _interpolated(control, (z_mm, y_mm, x_mm))
        for height, shift_y, shift_z in self.steps:
            front = np.clip((-y_mm - 30) / 50, 0, 1).astype(np.float32)[None, :, None] * (z_mm > height)[:, None, None]
            points[1] += np.float32(shift_y) * front
            points[0] += np.float32(shift_z) * front
        return np.asarray(points, np.float32)

    def collapsed(self, points: Field, frames: tuple[BodyFrame, ...]) -> Field:
        """The same points with the fractures applied."""
        low, high = points[0].min() - 50, points[0].max() + 50
        flat = np.ascontiguousarray(points.reshape(3, -1))
        for index, collapse in self.collapses.items():
            if low < frames[index].centre[0] < high:
                apply_collapse(flat, frames[index], collapse)
        return flat.reshape(points.shape)


def _interpolated(control: NDArray[np.float32], axes_mm: tuple[NDArray[np.float64], ...]) -> Field:
    field = control
    for axis, at_mm in enumerate(axes_mm, start=1):
        count = control.shape[axis]
        row = np.clip((at_mm / REACH_MM + 0.5) * (count - 1), 0, count - 1)
        low = np.minimum(row.astype(int), count - 2)
        weights = np.zeros((len(at_mm), count), np.float32)
        weights[np.arange(len(at_mm)), low] = 1 - (row - low)
        weights[np.arange(len(at_mm)), low + 1] += row - low
        field = np.moveaxis(np.tensordot(weights, field, axes=(1, axis)), 0, axis)
    return np.asarray(field)


def draw_pose(
    rng: np.random.Generator,
    focus_zyx: NDArray[np.float64],
    collapses: dict[int, Collapse],
    *,
    axial_deg: float = 6.0,
    elastic_mm: float = 2.0,
    steps: tuple[tuple[float, float, float], ...] = (),
) -> Pose:
    """Draw size (0.88-1.12), small tilts, a slight bend and smooth deformation; `axial_deg` bounds the roll on the table."""
    scale = rng.uniform(0.88, 1.12) * (1 + rng.uniform(-0.05, 0.05, 3))
    tilt, axial, lateral = np.deg2rad([rng.uniform(-a, a) for a in (6.0, axial_deg, 4.0)])
    matrix = (rotation(2, tilt) @ rotation(0, axial) @ rotation(1, lateral)) / scale
    bend = np.deg2rad(rng.uniform(-8, 8, 2) * [1.0, 0.6]) / 400.0
    knots = [int(REACH_MM / step) + 1 for step in (COARSE_KNOT_MM, FINE_KNOT_MM)]
    fields = [rng.normal(0, sd, (3, n, n, n)).astype(np.float32) for n, sd in zip(knots, (elastic_mm, elastic_mm * 0.3), strict=True)]
    return Pose(
        focus_zyx=focus_zyx,
        matrix=matrix,
        bend_per_mm=(float(bend[0]), float(bend[1])),
        coarse=fields[0],
        fine=fields[1],
        collapses=collapses,
        steps=steps,
    )
