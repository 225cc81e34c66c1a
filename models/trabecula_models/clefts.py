"""Gas in a collapsed body belongs to the body: an outline is closed around its cleft.

An intravertebral cleft (a fracture that does not heal) is filled with gas or fluid. The networks know gas beside bone as lung, bowel or
a vacuum disc, and leave a hole or a notch in the outline there.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.bodies import Box
from trabecula_morphometry.volume import Grid, Volume

GAS_HU = -200.0
"""Below fat (-120 to -80 HU) and what noise makes of it; gas that fills half a voxel of bone marrow is near -450."""

LEAST_CLEFT_MM3 = 50.0
"""A few voxels of dark noise are no cleft; the one of verse012 has 620 mm3 (its reading: 4 x 7 x 22 mm)."""

CLOSED_MM = 4.0
"""A notch is closed where it is narrower than twice this, as long clefts are; the bow of an endplate, with a radius of 20 mm and more, is
not. Unverified: 3 to 6 mm gave the same body in verse012, the one case at hand."""


def with_clefts(outlined: NDArray[np.int16], grid: Grid, volume: Volume) -> NDArray[np.int16]:
    """The outlines with the gas that lies in them.

    Parameters
    ----------
    outlined : (z, y, x) 1, 2, ... where a body is, 0 elsewhere; not changed.
    grid : the LPS-parallel lattice of the outlines.
    volume : the CT.
    """
    filled = outlined
    for instance, box in enumerate(ndimage.find_objects(outlined), start=1):
        gas = None if box is None else _enclosed_gas(volume, grid.crop(box))
        if box is None or gas is None:
            continue
        if filled is outlined:
            filled = outlined.copy()
        here, free = filled[box], outlined[box] == 0
        pockets, _ = ndimage.label(_closed(outlined[box] == instance, CLOSED_MM / float(grid.spacing_xyz_mm[0])) & free)
        here[np.isin(pockets, np.setdiff1d(pockets[gas], [0]))] = instance
    return filled


def _enclosed_gas(volume: Volume, grid: Grid) -> NDArray[np.bool_] | None:
    """Gas in a body's box that does not reach its faces, as lung and bowel do; None where there is none."""
    pieces, count = ndimage.label(volume.resample(grid).hu_zyx < GAS_HU)
    if count == 0:
        return None
    sizes = np.bincount(pieces.ravel())
    large = np.flatnonzero(sizes * grid.voxel_volume_mm3 >= LEAST_CLEFT_MM3)
    inside = np.setdiff1d(large, [0, *_on_faces(pieces)])
    return np.isin(pieces, inside) if len(inside) else None


def _on_faces(pieces: NDArray[np.int32]) -> NDArray[np.int32]:
    """The numbers on the six faces of an array."""
    faces = [np.take(pieces, end, axis=axis).ravel() for axis in range(3) for end in (0, -1)]
    return np.unique(np.concatenate(faces))


def _closed(body: NDArray[np.bool_], radius_voxels: float) -> NDArray[np.bool_]:
    """Morphological closing by a ball, and no hole left."""
    room = int(np.ceil(radius_voxels)) + 1
    grown = ndimage.distance_transform_edt(~np.pad(body, room)) <= radius_voxels
    closed = ndimage.distance_transform_edt(grown) > radius_voxels
    inner: Box = (slice(room, -room),) * 3
    whole: NDArray[np.bool_] = ndimage.binary_fill_holes(closed[inner] | body)
    return whole
