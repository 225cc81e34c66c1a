"""Metal and cement as a label of their own in the masks, told by their HU: no tissue is as dense."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_morphometry.levels import FOREIGN_LABEL, SACRUM_LABEL
from trabecula_morphometry.voi import CEMENT_HU, CORTEX_MARGIN_MM, FOREIGN_MM3, METAL_HU
from trabecula_morphometry.volume import LabelVolume, Volume

NEAR_BONE_MM = 6.0
"""How far off the bone metal is looked for: a choice, tested on made-up volumes only; no real case at hand holds metal."""

METAL_EDGE_HU = 1500.0
"""Metal ends where HU fall below this: half of the 3071 HU at which 12-bit CT clips it."""


def mark_foreign(volume: Volume, bodies: LabelVolume, posterior: LabelVolume) -> LabelVolume:
    """The bodies' masks with metal (in, on or beside bone) and cement (inside a body) as ``FOREIGN_LABEL``; the same where there is none.

    Parameters
    ----------
    volume : the CT.
    bodies, posterior : VerSe numbers on one LPS-parallel grid.
    """
    grid = bodies.grid
    spacing_mm = float(grid.spacing_xyz_mm[0])
    if volume.crop(*grid.bounds_lps_mm()).hu_zyx.max() < CEMENT_HU:
        return bodies
    hu = volume.resample(grid, antialias=False).hu_zyx
    body = (bodies.labels_zyx > 0) & (bodies.labels_zyx != SACRUM_LABEL)
    off_bone_mm = ndimage.distance_transform_edt(~(body | (posterior.labels_zyx > 0))) * spacing_mm
    near = off_bone_mm <= NEAR_BONE_MM
    metal = ndimage.binary_propagation((hu >= METAL_HU) & near, mask=(hu >= METAL_EDGE_HU) & near)
    deep = ndimage.distance_transform_edt(body) * spacing_mm >= CORTEX_MARGIN_MM
    cement = (hu >= CEMENT_HU) & deep
    foreign = _large(metal, spacing_mm) | _large(cement, spacing_mm)
    if not foreign.any():
        return bodies
    return replace(bodies, labels_zyx=np.where(foreign, np.uint8(FOREIGN_LABEL), bodies.labels_zyx))


def _large(mask: NDArray[np.bool_], spacing_mm: float) -> NDArray[np.bool_]:
    """Pieces of at least ``FOREIGN_MM3``."""
    pieces, count = ndimage.label(mask)
    sizes_mm3 = np.bincount(pieces.ravel(), minlength=count + 1) * spacing_mm**3
    sizes_mm3[0] = 0.0
    kept: NDArray[np.bool_] = (sizes_mm3 >= FOREIGN_MM3)[pieces]
    return kept
