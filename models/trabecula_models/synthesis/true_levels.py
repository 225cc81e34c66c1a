"""What is known about each vertebra of a synthetic scan, read off its final masks and its plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trabecula_models.synthesis.body_split import BodyFrame
from trabecula_models.synthesis.pose import Pose
from trabecula_models.synthesis.scene import Scene
from trabecula_models.synthesis.warp import Collapse
from trabecula_morphometry.levels import LEVEL_OF_LABEL
from trabecula_morphometry.volume import Grid

EDGE_MM = 2

MARGINS = np.array([-0.9, 0.0, 0.9], np.float32)
"""Where anterior, middle and posterior loss are read, in shares of the half depth: 2 mm inside the walls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueLevel:
    """One vertebra wholly or partly in the field.

    Density and HU are those of its trabecular bone. Loss is the share of the height that the drawn fracture takes (a source may be
    crushed already); heights are read from the final mask near the midsagittal plane.
    """

    name: str
    center_lps_mm: tuple[float, float, float]
    complete: bool
    density_k2hpo4_mg_cm3: float
    trabecular_hu: float
    fracture: str | None
    loss_anterior: float
    loss_middle: float
    loss_posterior: float
    height_anterior_mm: float
    height_middle_mm: float
    height_posterior_mm: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PaintedBox:
    """Ideal HU at 1 mm with what every voxel is; `core` is deep trabecular bone of bodies."""

    hu: NDArray[np.float32]
    tissue: NDArray[np.uint8]
    level: NDArray[np.uint8]
    core: NDArray[np.bool_]
    foreign: NDArray[np.bool_]


def pose_axes(pose: Pose, frame: BodyFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Up and back of a vertebra in the scan (z, y, x), by the linear part of the pose."""
    inverse = np.linalg.inv(pose.matrix)
    up = inverse @ frame.up
    up /= np.linalg.norm(up)
    back = inverse @ frame.back
    back -= (back @ up) * up
    return up, back / np.linalg.norm(back)


def mask_heights_mm(points_mm: NDArray[np.float64], up: NDArray[np.float64], back: NDArray[np.float64]) -> tuple[float, float, float]:
    """Anterior, middle and posterior height of a body given by the centres of its 1 mm voxels, near its midsagittal plane.

    Each is the volume of a column 3 mm deep and 6 mm wide over its floor: finer than a voxel, and free of single ragged voxels.
    """
    relative = points_mm - points_mm.mean(axis=0)
    along, behind, across = relative @ up, relative @ back, relative @ np.cross(up, back)
    strip = np.abs(across) < 3.0
    waist = strip & (np.abs(along) < 0.3 * np.ptp(along))
    if waist.sum() < 20:
        return (float("nan"),) * 3
    front, rear = np.percentile(behind[waist], (1, 99))
    heights = [float((strip & (np.abs(behind - at) < 1.5)).sum() / 18.0) for at in (front + 2.5, (front + rear) / 2, rear - 2.5)]
    return heights[0], heights[1], heights[2]


def true_levels(
    scene: Scene,
    pose: Pose,
    grid: Grid,
    body: NDArray[np.uint8],
    painted: PaintedBox,
    density: NDArray[np.float64],
    collapses: dict[int, Collapse],
    field_mm: float,
) -> tuple[TrueLevel, ...]:
    """The vertebrae of a scanned box, cranial to caudal; those of which less than half a millilitre is in view are left out.

    `body` holds the VerSe id of each voxel of a body, `density` that of each VerSe index, `field_mm` the side of the field of view.
    """
    levels = []
    for index, frame in sorted(enumerate(scene.frames), key=lambda item: -float(item[1].centre[0])):
        points = np.argwhere(body == frame.level)
        if len(points) < 500:
            continue
        lps = grid.to_lps(points[:, ::-1])
        inside = (points[:, 0].min() >= EDGE_MM) and (points[:, 0].max() < body.shape[0] - EDGE_MM)
        complete = bool(inside and np.abs(lps[:, :2]).max() < field_mm / 2 - EDGE_MM)
        deep = painted.core & (body == frame.level)
        collapse = collapses.get(index)
        loss = np.zeros(3) if collapse is None else collapse.loss(MARGINS, np.zeros(3, np.float32))
        centre = lps.mean(axis=0)
        up, back = pose_axes(pose, frame)
        heights = mask_heights_mm(points.astype(float), up, back)
        levels.append(
            TrueLevel(
                name=LEVEL_OF_LABEL[frame.level],
                center_lps_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
                complete=complete,
                density_k2hpo4_mg_cm3=float(density[frame.level]),
                trabecular_hu=float(painted.hu[deep].mean()) if deep.any() else float("nan"),
                fracture=collapse.shape if collapse else None,
                loss_anterior=float(loss[0]),
                loss_middle=float(loss[1]),
                loss_posterior=float(loss[2]),
                height_anterior_mm=heights[0],
                height_middle_mm=heights[1],
                height_posterior_mm=heights[2],
            )
        )
    return tuple(levels)
