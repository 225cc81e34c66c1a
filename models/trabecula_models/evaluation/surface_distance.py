"""The 95th percentile of the distance between two surfaces, in millimetres."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from trabecula_morphometry.volume import Grid

Voxels = NDArray[np.bool_]
Points = NDArray[np.float64]

HD_PERCENT = 95.0
"""CTSpine1K (Deng 2021): "the 95th percentile" of the distances between the two surfaces."""


def border_points_mm(mask_zyx: Voxels, first_zyx: tuple[int, int, int], grid: Grid) -> Points:
    """Centres of the voxels of a mask that touch something else through a face.

    Parameters
    ----------
    mask_zyx : part of a mask; outside of the part (and of the image) nothing belongs to it, so a cut face counts as surface.
    first_zyx : index of the part's first voxel in the whole grid.
    grid : the whole grid, which may be oblique or sheared.

    Returns
    -------
    points : (n, 3) LPS millimetres.
    """
    padded = np.pad(mask_zyx, 1)
    inside = mask_zyx.copy()
    for axis in range(3):
        for step in (-1, 1):
            inside &= np.roll(padded, step, axis=axis)[1:-1, 1:-1, 1:-1]
    border_zyx = np.argwhere(mask_zyx & ~inside) + np.array(first_zyx)
    return grid.to_lps(border_zyx[:, ::-1])


def hd95_mm(points_a_mm: Points, points_b_mm: Points) -> float | None:
    """95th percentile over both directions together of the distance from each border voxel to the nearest one of the other surface.

    Parameters
    ----------
    points_a_mm, points_b_mm : (n, 3) and (m, 3) border voxels, LPS millimetres.

    Returns
    -------
    distance : millimetres, or None where one surface is empty: a distance to nothing has no value.

    Notes
    -----
    The percentile of both directions pooled is the definition of ``medpy.metric.hd95``, which CTSpine1K's published evaluation imports;
    the larger of two directed percentiles (MONAI) is equal or larger.
    """
    if not len(points_a_mm) or not len(points_b_mm):
        return None
    to_b, _ = cKDTree(points_b_mm).query(points_a_mm)
    to_a, _ = cKDTree(points_a_mm).query(points_b_mm)
    return float(np.percentile(np.concatenate([to_b, to_a]), HD_PERCENT))
