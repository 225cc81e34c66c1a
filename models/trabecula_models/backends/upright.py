"""A volume turned so that its array axes run along the body, as foreign models expect: by flips and swaps where that is enough."""

import numpy as np
from numpy.typing import NDArray

from trabecula_models.errors import ModelError
from trabecula_morphometry.volume import Grid, Volume

LARGEST_TILT_COSINE = float(np.cos(np.deg2rad(12.0)))
"""Axes up to 12 degrees off the body's count as along it (patients lie so); more, as with a tilted gantry, is resampled."""

_AXIS_OF_LETTER = {"L": (0, 1.0), "R": (0, -1.0), "P": (1, 1.0), "A": (1, -1.0), "S": (2, 1.0), "I": (2, -1.0)}


def upright(volume: Volume, orientation: str = "LPS") -> Volume:
    """The volume with array axes x, y, z growing as ``orientation`` says; a view of the same voxels unless the scan is oblique.

    Parameters
    ----------
    orientation : three letters, one of L/R, one of P/A and one of S/I in any order: where x, y and z grow to.

    Raises
    ------
    ModelError : the letters name an axis twice or not at all.
    """
    wanted = [_AXIS_OF_LETTER.get(letter, (-1, 0.0)) for letter in orientation.upper()]
    if sorted(axis for axis, _ in wanted) != [0, 1, 2]:
        raise ModelError(f"{orientation!r} is not an orientation", hint='three letters, for example "LPS" or "RAS"')
    source = volume if _runs_along_body(volume.grid) else _resampled(volume)
    matrix = source.grid.voxel_to_lps
    unit = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    # For each wanted axis: the array axis (x, y, z) that runs along it, and whether it must be reversed.
    from_axes = [int(np.abs(unit[axis]).argmax()) for axis, _ in wanted]
    reverse = [unit[axis, source_axis] * sign < 0 for (axis, sign), source_axis in zip(wanted, from_axes, strict=True)]
    hu_xyz = source.hu_zyx.transpose(2, 1, 0).transpose(from_axes)[tuple(slice(None, None, -1 if turn else 1) for turn in reverse)]
    turned = np.eye(4)
    first = np.zeros(3)
    for new_axis, (source_axis, turn) in enumerate(zip(from_axes, reverse, strict=True)):
        turned[:3, new_axis] = matrix[:3, source_axis] * (-1.0 if turn else 1.0)
        first[source_axis] = source.hu_zyx.shape[2 - source_axis] - 1 if turn else 0
    turned[:3, 3] = source.grid.to_lps(first)
    hu_zyx = hu_xyz.transpose(2, 1, 0)
    return Volume(hu_zyx=hu_zyx, grid=Grid(shape_zyx=hu_zyx.shape, voxel_to_lps=turned))


def to_ras(voxel_to_lps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine in RAS+ millimetres, as NIfTI has it (and back)."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ voxel_to_lps


def _runs_along_body(grid: Grid) -> bool:
    unit = np.abs(grid.voxel_to_lps[:3, :3] / np.linalg.norm(grid.voxel_to_lps[:3, :3], axis=0))
    return bool((unit.max(axis=0) > LARGEST_TILT_COSINE).all() and len(set(unit.argmax(axis=0))) == 3)


def _resampled(volume: Volume) -> Volume:
    """On an LPS-parallel grid with the scan's own in-plane and slice spacing."""
    low, high = volume.grid.bounds_lps_mm()
    spacing = volume.grid.spacing_xyz_mm.copy()
    spacing[2] = volume.grid.slice_spacing_mm
    count = np.ceil((high - low) / spacing).astype(int) + 1
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = low
    fine = volume.resample(Grid(shape_zyx=(int(count[2]), int(count[1]), int(count[0])), voxel_to_lps=matrix))
    return Volume(hu_zyx=np.rint(fine.hu_zyx).astype(np.int16), grid=fine.grid)
