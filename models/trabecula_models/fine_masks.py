"""Masks at the output voxel size from what both looks of the fine network said and from the refined outlines."""

from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.bodies import BODY_PROBABILITY, box_around
from trabecula_models.delineate import Delineation
from trabecula_models.posterior import EDGE_PROBABILITY, edge_hu, small_gaps
from trabecula_models.refine import FineMaps
from trabecula_models.upsampling import nearest, upsample
from trabecula_morphometry.levels import SACRUM_LABEL
from trabecula_morphometry.volume import LabelVolume, Volume, analysis_grid

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

INSIDE_MARGIN = 0.15
"""By how much the body's probability must beat the next class: without it masks were 4-18 % too large (two real cases and three made-up
ones), with it body Dice rises by 0.00-0.01."""

PEDICLE_ROOT_PROBABILITY = 0.05
"""What the refined outline of a body gives up is the root of a pedicle where posterior elements are at all likely: no gap opens.
Unverified: not searched, no figure with and without it."""

OUTPUT_SPACING_MM = 1.0
"""Masks are given at this voxel size, finer than the network's, from its interpolated probabilities."""

REACH_VOXELS = 2.0
"""Beyond what the network's own lattice holds of a body or an arch, its finer outline lies within this many of that lattice's voxels."""


def fine_maps(
    seen: Delineation, instances: NDArray[np.int16], found: NDArray[np.bool_], first_voxel_lps_mm: NDArray[np.float64]
) -> FineMaps:
    """What both looks said, at the output voxel size, in the part of the crop where something was found.

    Their lattice goes through the CT's first voxel: laid over the CT, or over a mask made from it, no edge moves by half a voxel.
    """
    # Distances and interpolation only where something was found: most of the grid is soft tissue.
    box = box_around(found, margin=3)
    first, second = (look.crop(box) for look in seen.looks)
    grid = first.grid
    low, high = grid.bounds_lps_mm()
    target = analysis_grid(low - OUTPUT_SPACING_MM, high + OUTPUT_SPACING_MM, OUTPUT_SPACING_MM, through_lps_mm=first_voxel_lps_mm)
    spread = _spread(instances[box])
    near = np.where(spread > 0, first.body_margin, np.float32(-1.0))
    return FineMaps(
        margin=(upsample(near, grid, target) + upsample(second.body_margin, second.grid, target)) * np.float32(0.5),
        instance=nearest(spread, grid, target),
        posterior=(upsample(first.posterior, grid, target) + upsample(second.posterior, second.grid, target)) * np.float32(0.5),
        grid=target,
    )


def _spread(numbered: NDArray[np.int16]) -> NDArray[np.int16]:
    """The number of the nearest numbered voxel (z, y, x) within reach of one, 0 elsewhere."""
    out = np.zeros_like(numbered)
    if numbered.any():
        box = box_around(numbered > 0, margin=ceil(REACH_VOXELS))
        distance, found = ndimage.distance_transform_edt(numbered[box] == 0, return_distances=True, return_indices=True)
        out[box] = np.where(distance <= REACH_VOXELS, numbered[box][tuple(found)], np.int16(0))
    return out


def fine_bodies(seen: Delineation, maps: FineMaps, outlined: NDArray[np.int16], sacrum: Mask | None, labels: Labels) -> LabelVolume:
    """The bodies as outlined, each with its label, and the sacrum where no body is.

    ``outlined`` lies on the maps' lattice, ``sacrum`` on that of ``seen``; ``labels`` is what each number of a body stands for.
    """
    bodies = labels[outlined]
    if sacrum is not None:
        bodies[(upsample(sacrum.astype(np.float32), seen.grid, maps.grid) > 0.5) & (bodies == 0)] = SACRUM_LABEL
    return LabelVolume(labels_zyx=bodies, grid=maps.grid)


def fine_arches(
    volume: Volume, seen: Delineation, maps: FineMaps, bodies: LabelVolume, posterior: NDArray[np.int16], labels: Labels
) -> LabelVolume:
    """The posterior elements that both looks saw, each with the label of its vertebra.

    ``posterior`` are those of the bodies 1, 2, ... on the lattice of ``seen``.
    """
    grid, target, taken = seen.grid, maps.grid, bodies.labels_zyx > 0
    which = nearest(_spread(posterior), grid, target)
    likely = (which > 0) & ~taken & (maps.posterior > EDGE_PROBABILITY)
    doubtful = likely & (maps.posterior <= BODY_PROBABILITY)
    bone = likely.copy()
    bone[doubtful] = _is_bone_of_arch(volume, seen, target.to_lps(np.argwhere(doubtful)[:, ::-1]), maps.posterior[doubtful])
    bone |= small_gaps(bone | taken, OUTPUT_SPACING_MM) & likely
    arches = np.where(bone, labels[which], 0).astype(np.uint8)
    given_up = (maps.margin > INSIDE_MARGIN) & ~taken & ~bone & (maps.posterior > PEDICLE_ROOT_PROBABILITY)
    arches[given_up] = labels[maps.instance[given_up]]
    return LabelVolume(labels_zyx=arches, grid=target)


def _is_bone_of_arch(
    volume: Volume, seen: Delineation, points_lps_mm: NDArray[np.float64], probability: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Which points (n, 3) inside the edge of bone are rather posterior elements, of this probability (n), than rib."""
    voxels = np.moveaxis(seen.grid.to_voxel(points_lps_mm)[:, ::-1], -1, 0)
    edge, rib = (
        ndimage.map_coordinates(field, voxels, output=np.float32, order=1, mode="nearest")
        for field in (edge_hu(seen.hu_zyx, float(seen.grid.spacing_xyz_mm[0])), seen.maps.rib)
    )
    bone: NDArray[np.bool_] = (volume.sample(points_lps_mm) > edge) & (probability > rib)
    return bone
