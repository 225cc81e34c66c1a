"""Several stacks of one spine as one image, for the pictures and masks of the whole; measured is in the stacks themselves."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.levels import FOREIGN_LABEL, SACRUM_LABEL
from trabecula_morphometry.mask_sampling import resample_masks
from trabecula_morphometry.volume import AIR_HU, Grid, LabelVolume, Volume
from trabecula_service.dicom.image import CtImage
from trabecula_service.result import Source, SourceStack

FINEST_MM = 0.5
"""Voxels of the common grid are no smaller where stacks must be resampled: it serves for looking and for masks of 1 mm."""

MOST_VOXELS = 250_000_000
"""Half a gigabyte of HU; 512 x 512 slices of a whole spine at 0.8 mm are 200 million."""

_SLAB_SLICES = 32
"""Resampled so many slices at a time, so that the floating-point copy stays small."""

_ON_LATTICE_VOXELS = 0.02


def joined_image(stacks: Sequence[CtImage]) -> CtImage:
    """One image over all stacks; where they overlap the earlier one in the list is seen.

    Stacks on one raster keep their voxels. Others are put on a grid parallel to the body's axes with the finest of their spacings. The
    same stacks in the same order always give the same image.
    """
    grid = _lattice(stacks) or _common_grid(stacks)
    hu = np.full(grid.shape_zyx, AIR_HU, dtype=np.int16)
    for image in reversed(stacks):
        _put(hu, grid, image.volume.along_lps())
    first = stacks[0]
    return replace(
        first,
        volume=Volume(hu_zyx=hu, grid=grid),
        source=_source(stacks, grid),
        flags=tuple(flag for image in stacks for flag in image.flags),
        headers=tuple(header for image in stacks for header in image.headers),
        even_slices=True,
        slice_gaps_mm=(),
        interpolated_slices=(),
        stacks=tuple(stacks),
    )


def joined_masks(
    stacks: Sequence[tuple[LabelVolume, LabelVolume]], renumbered: Sequence[Mapping[int, int]], grid: Grid
) -> tuple[LabelVolume, LabelVolume]:
    """Bodies and posterior elements of all stacks on the grid of the whole.

    Parameters
    ----------
    stacks : bodies and posterior elements of each.
    renumbered : per stack the labels that are kept, and what they become; the sacrum and foreign material are always kept.
    """
    joined = [np.zeros(grid.shape_zyx, dtype=np.uint8) for _ in range(2)]
    for masks, mapping in zip(stacks, renumbered, strict=True):
        lookup = np.zeros(256, dtype=np.uint8)
        for old, new in {**mapping, SACRUM_LABEL: SACRUM_LABEL, FOREIGN_LABEL: FOREIGN_LABEL}.items():
            lookup[old] = new
        kept = resample_masks([LabelVolume(labels_zyx=lookup[mask.labels_zyx], grid=mask.grid) for mask in masks], grid)
        for out, mask in zip(joined, kept, strict=True):
            np.copyto(out, mask.labels_zyx, where=out == 0)
    bodies, posterior = (LabelVolume(labels_zyx=labels, grid=grid) for labels in joined)
    return bodies, posterior


def _lattice(stacks: Sequence[CtImage]) -> Grid | None:
    """The grid of all voxels where the stacks lie on one raster; None where they do not."""
    grids = [image.volume.along_lps().grid for image in stacks]
    first = grids[0]
    corners = []
    for grid in grids:
        if not np.allclose(grid.voxel_to_lps[:3, :3], first.voxel_to_lps[:3, :3], rtol=0, atol=1e-4):
            return None
        origin = first.to_voxel(grid.voxel_to_lps[:3, 3])
        if np.abs(origin - np.rint(origin)).max() > _ON_LATTICE_VOXELS:
            return None
        corners.append((np.rint(origin), np.rint(origin) + np.array(grid.shape_zyx[::-1])))
    low, high = np.min([start for start, _ in corners], axis=0), np.max([end for _, end in corners], axis=0)
    if float(np.prod(high - low)) > MOST_VOXELS:
        return None
    matrix = first.voxel_to_lps.copy()
    matrix[:3, 3] = first.to_lps(low)
    nx, ny, nz = (int(count) for count in high - low)
    return Grid(shape_zyx=(nz, ny, nx), voxel_to_lps=matrix)


def _common_grid(stacks: Sequence[CtImage]) -> Grid:
    volumes = [image.volume.along_lps() for image in stacks]
    bounds = np.array([volume.grid.bounds_lps_mm() for volume in volumes])
    low, high = bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)
    spacing = np.maximum(np.min([volume.grid.spacing_xyz_mm for volume in volumes], axis=0), FINEST_MM)
    count = np.floor((high - low) / spacing + 1e-6) + 1
    spacing *= max(float(np.prod(count)) / MOST_VOXELS, 1.0) ** (1 / 3)
    nx, ny, nz = (int(part) for part in np.floor((high - low) / spacing + 1e-6) + 1)
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = low
    return Grid(shape_zyx=(nz, ny, nx), voxel_to_lps=matrix)


def _put(hu: NDArray[np.int16], grid: Grid, volume: Volume) -> None:
    """Write a stack into the whole, where its own voxels reach."""
    corners = np.array([grid.to_voxel(corner) for corner in volume.grid.bounds_lps_mm()])
    first = np.maximum(np.ceil(corners.min(axis=0) - _ON_LATTICE_VOXELS), 0).astype(int)
    end = np.minimum(np.floor(corners.max(axis=0) + _ON_LATTICE_VOXELS).astype(int) + 1, grid.shape_zyx[::-1])
    (x0, y0, z0), (x1, y1, z1) = first, end
    same_raster = np.allclose(grid.voxel_to_lps[:3, :3], volume.grid.voxel_to_lps[:3, :3], rtol=0, atol=1e-4)
    if same_raster and (z1 - z0, y1 - y0, x1 - x0) == volume.grid.shape_zyx:
        hu[z0:z1, y0:y1, x0:x1] = volume.hu_zyx
        return
    for start in range(int(z0), int(z1), _SLAB_SLICES):
        box = (slice(start, min(start + _SLAB_SLICES, int(z1))), slice(int(y0), int(y1)), slice(int(x0), int(x1)))
        values = np.rint(volume.resample(grid.crop(box)).hu_zyx)
        # Beyond the planes of an oblique or tilted stack there is nothing to write.
        np.copyto(hu[box], values.astype(np.int16), where=values > AIR_HU)


def _source(stacks: Sequence[CtImage], grid: Grid) -> Source:
    nz, ny, nx = grid.shape_zyx
    x_mm, y_mm, z_mm = (round(float(step), 6) for step in grid.spacing_xyz_mm)
    hashes = [image.source.content_sha256 or "" for image in stacks]
    return stacks[0].source.model_copy(
        update={
            "file_count": sum(image.source.file_count for image in stacks),
            "matrix": (nx, ny, nz),
            "spacing_mm": (x_mm, y_mm, z_mm),
            "content_sha256": hashlib.sha256("|".join(hashes).encode()).hexdigest(),
            "stacks": [_source_stack(image.source) for image in stacks],
        }
    )


def _source_stack(source: Source) -> SourceStack:
    return SourceStack(**{name: getattr(source, name) for name in SourceStack.model_fields})
