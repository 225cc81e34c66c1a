"""Gas and cement in a body belong to it: an outline is closed around them.

An intravertebral cleft (a fracture that does not heal) is filled with gas or fluid, and a treated fracture with cement. The networks know
gas beside bone as lung, bowel or a vacuum disc, and what is denser than any bone beside a broken wall as nothing they could name: they
leave a hole, a notch or a tunnel in the outline there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.bodies import Box
from trabecula_morphometry.voi import CEMENT_HU
from trabecula_morphometry.volume import Grid, Volume

GAS_HU = -200.0
"""Below fat (-120 to -80 HU) and what noise makes of it; gas that fills half a voxel of bone marrow is near -450."""

LEAST_INCLUSION_MM3 = 50.0
"""A few voxels of dark or bright noise are none; the cleft of verse012 has 620 mm3 (its reading: 4 x 7 x 22 mm)."""


@dataclass(frozen=True, slots=True)
class _Material:
    """What belongs to a body that encloses it."""

    is_it: Callable[[NDArray[np.float32]], NDArray[np.bool_]]
    """Of each HU, whether it is this material."""
    closed_mm: float
    """A notch is closed where it is narrower than twice this."""


_GAS = _Material(is_it=lambda hu: hu < GAS_HU, closed_mm=4.0)
"""Long clefts are narrower; the bow of an endplate, with a radius of 20 mm and more, is not closed. Unverified: 3 to 6 mm gave the same
body in verse012, the one case at hand."""

_CEMENT = _Material(is_it=lambda hu: hu >= CEMENT_HU, closed_mm=6.0)
"""Cement lies in blobs, not in slits. Chosen on four drawn columns (ADR 0034); no real case at hand holds cement."""


def with_inclusions(outlined: NDArray[np.int16], grid: Grid, volume: Volume) -> NDArray[np.int16]:
    """The outlines with the gas and the cement that lie in them.

    Parameters
    ----------
    outlined : (z, y, x) 1, 2, ... where a body is, 0 elsewhere; not changed.
    grid : the LPS-parallel lattice of the outlines.
    volume : the CT.
    """
    filled = outlined.copy()
    for instance, box in enumerate(ndimage.find_objects(outlined), start=1):
        if box is None:
            continue
        hu_zyx = volume.resample(grid.crop(box)).hu_zyx
        here = filled[box]
        for material in (_GAS, _CEMENT):
            enclosed = _enclosed(material.is_it(hu_zyx), grid.voxel_volume_mm3)
            if enclosed.any():
                pockets, _ = ndimage.label(_closed(here == instance, material.closed_mm / float(grid.spacing_xyz_mm[0])) & (here == 0))
                here[np.isin(pockets, np.setdiff1d(pockets[enclosed], [0]))] = instance
    return filled


def _enclosed(matter: NDArray[np.bool_], voxel_mm3: float) -> NDArray[np.bool_]:
    """The pieces in a body's box that do not reach its faces, as lung, bowel and screws do."""
    pieces, _ = ndimage.label(matter)
    large = np.flatnonzero(np.bincount(pieces.ravel()) * voxel_mm3 >= LEAST_INCLUSION_MM3)
    return np.isin(pieces, np.setdiff1d(large, [0, *_on_faces(pieces)]))


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
