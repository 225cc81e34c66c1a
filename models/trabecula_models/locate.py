"""First look: the coarse network over the whole series at 4 mm finds the column, so that only its crop is looked at finely."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.inference import NetworkRunner, softmax_classes
from trabecula_morphometry.volume import Grid, Volume, analysis_grid

CLASS_NAMES = ("background", "body", "posterior", "disc", "sacrum", "rib", "pelvis")
"""Classes of both networks, in the order of their output channels; one more channel follows (level or centre heat)."""

SMALLEST_COLUMN_ML = 12.0
"""Less vertebral body than this in the coarse view is no column: one lumbar body has 25-50 ml, half an upper thoracic one 5."""

SIDE_MARGIN_MM, FRONT_MARGIN_MM, BACK_MARGIN_MM, END_MARGIN_MM = 48.0, 22.0, 60.0, 24.0
"""Room around the bodies: ribs leave within 48 mm, the spinous process ends within 60 mm behind the body's back wall."""

WINDOW_ZYX = (96, 96, 112)
"""What the network looks through at once, in voxels: 384 x 384 x 448 mm, in one piece most trunks."""

SMALL_FIELD_VOXELS, LEAST_SHOWN_ZYX = 64, (1, 80, 96)
"""Fields smaller than the first (256 mm) are shown with air around them, as large as the second: so the network has learnt to see them,
and what surrounds a voxel moves its norms. Without the air this network lost levels of columns in fields of 150 to 200 mm, of one of them
all (held-out 27 and 83 of drawing 0); with it neither."""

FURTHER_DOWN_MM, LEFT_BELOW_MM, BEND_MM = 150.0, 20.0, 20.0
"""Where the crop ends above a sacrum that was not seen, it is taken further down by the first (four lumbar levels), if the scan goes on by
the second (half a body) at least, with the third more room in front for the lordosis."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LocatedColumn:
    """Where the column lies.

    ``low_lps_mm`` and ``high_lps_mm`` bound the crop for the fine network. ``level_index_zyx`` is the coarse network's level
    (C1 = 0, T1 = 7, L1 = 19) on ``grid``; it means something only where ``bone_zyx`` is true.
    """

    low_lps_mm: NDArray[np.float64]
    high_lps_mm: NDArray[np.float64]
    grid: Grid
    level_index_zyx: NDArray[np.float32]
    bone_zyx: NDArray[np.bool_]


def further_down(located: LocatedColumn, volume: Volume) -> LocatedColumn | None:
    """The same column with more of the scan below it, or None where the scan ends: no column ends above its sacrum.

    In noise, in metal and in small fields the coarse network may lose the lowest levels that the fine one sees well.
    """
    first, _ = volume.grid.bounds_lps_mm()
    if located.low_lps_mm[2] - first[2] < LEFT_BELOW_MM:
        return None
    return replace(located, low_lps_mm=np.maximum(located.low_lps_mm - [0.0, BEND_MM, FURTHER_DOWN_MM], first))


def coarse_grid(volume: Volume, spacing_mm: float) -> Grid:
    """The LPS-parallel grid that covers the whole volume."""
    low, high = volume.grid.bounds_lps_mm()
    return analysis_grid(low, high, spacing_mm)


def locate_column(volume: Volume, runner: NetworkRunner, progress: Callable[[float], None] | None = None) -> LocatedColumn | None:
    """The vertebral column in a volume, or None where there is none.

    Parameters
    ----------
    volume : the whole series.
    runner : the coarse network.
    """
    grid = coarse_grid(volume, runner.bundle.spacing_mm)
    coarse = volume.resample(grid)
    small = max(coarse.hu_zyx.shape[1:]) < SMALL_FIELD_VOXELS
    out = runner.run(
        coarse.hu_zyx, window_zyx=WINDOW_ZYX, overlap=0.25, least_zyx=LEAST_SHOWN_ZYX if small else (1, 1, 1), progress=progress
    )
    probability = softmax_classes(out[: len(CLASS_NAMES)])
    body, posterior, disc, sacrum = probability[1], probability[2], probability[3], probability[4]
    front = body + disc + sacrum
    voxel_ml = grid.voxel_volume_mm3 / 1000.0
    column = _main_column(front > 0.5, body, voxel_ml)
    if column is None:
        return None
    where = np.argwhere(column)
    low, high = grid.to_lps(where.min(axis=0)[::-1]), grid.to_lps(where.max(axis=0)[::-1])
    room = np.array([SIDE_MARGIN_MM, FRONT_MARGIN_MM, END_MARGIN_MM])
    first, last = volume.grid.bounds_lps_mm()
    low = np.maximum(low - room, first)
    high = np.minimum(high + np.array([SIDE_MARGIN_MM, BACK_MARGIN_MM, END_MARGIN_MM]), last)
    level = out[len(CLASS_NAMES)] - 1.0  # VerSe counts C1 as 1
    return LocatedColumn(low_lps_mm=low, high_lps_mm=high, grid=grid, level_index_zyx=level, bone_zyx=(body + posterior + disc) > 0.5)


def _main_column(front: NDArray[np.bool_], body: NDArray[np.float32], voxel_ml: float) -> NDArray[np.bool_] | None:
    """The largest connected piece of bodies, discs and sacrum with the pieces in line above and below it."""
    pieces, count = ndimage.label(ndimage.binary_closing(front, iterations=1) | front)
    if count == 0:
        return None
    volumes = ndimage.sum_labels(body, pieces, index=np.arange(1, count + 1)) * voxel_ml
    main = int(np.argmax(volumes)) + 1
    if volumes[main - 1] < SMALLEST_COLUMN_ML:
        return None
    centers = np.array(ndimage.center_of_mass(front, pieces, index=np.arange(1, count + 1)))
    reach_voxels = 90.0 / (voxel_ml * 1000.0) ** (1 / 3)
    lateral = np.abs(centers[:, 2] - centers[main - 1, 2]) < reach_voxels * 0.7
    sagittal = np.abs(centers[:, 1] - centers[main - 1, 1]) < reach_voxels
    kept = np.flatnonzero((volumes > 3.0) & lateral & sagittal) + 1
    return np.isin(pieces, np.append(kept, main)) & front
