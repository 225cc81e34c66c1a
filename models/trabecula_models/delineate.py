"""Second look: the fine network over the crop around the column."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.bodies import Box, ClassMaps
from trabecula_models.inference import NetworkRunner, softmax_classes
from trabecula_models.locate import CLASS_NAMES
from trabecula_morphometry.volume import Grid, Volume, analysis_grid

WINDOW_ZYX = (112, 96, 96)
"""Windows larger than the training patches: the crop is one window wide and deep, which saves most of the overlap and costs no accuracy."""

SMOOTHING_MM, SMOOTHED_FROM_HU = 0.8, 12.0
"""Gaussian over the HU that the network sees, half of its voxel, where their grain is far above that of synthetic scans (2 to 6 HU at its
voxel). In the grain of a sharp kernel (verse012: 32 HU; five other real cases 3 to 7) it took noise for discs: whole vertebrae of verse012
went from 0.869 to 0.877. On quiet scans smoothing costs 0.003 (held-out set). 0.6 to 1.0 mm do alike; chosen on these cases."""

SOFT_TISSUE_HU = (-50.0, 300.0)
"""Where the grain is looked at: neither lung and fat nor the edges of cortical bone."""

SD_PER_MEDIAN_DEVIATION = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""


def smoothed(hu_zyx: NDArray[np.float32], spacing_mm: float) -> NDArray[np.float32]:
    """The HU, slightly smoothed."""
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(hu_zyx, SMOOTHING_MM / spacing_mm)
    return smooth


def is_noisy(hu_zyx: NDArray[np.float32], spacing_mm: float) -> bool:
    """Whether noise at the voxel size of the fine network is stronger than it has learnt to see through."""
    soft = (hu_zyx > SOFT_TISSUE_HU[0]) & (hu_zyx < SOFT_TISSUE_HU[1])
    if not soft.any():
        return False
    grain_hu = SD_PER_MEDIAN_DEVIATION * float(np.median(np.abs(hu_zyx - smoothed(hu_zyx, spacing_mm))[soft]))
    return grain_hu > SMOOTHED_FROM_HU


HALF_A_VOXEL = 0.5
"""How far the lattice of the second look lies from that of the first, along each axis: it sees what falls between the first one's voxels.
Two looks on one lattice, as before, gave outlines with a body Dice 0.001 to 0.004 lower (five real cases, each better)."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Look:
    """What outlines are drawn from, axes [z, y, x], and the grid that this look lies on.

    Parameters
    ----------
    body_margin : by how much body is ahead of the other classes, -1 to 1.
    posterior : probability of posterior elements (`ClassMaps.posterior_bone`).
    """

    body_margin: NDArray[np.float32]
    posterior: NDArray[np.float32]
    grid: Grid

    def crop(self, box: Box) -> "Look":
        """The same look inside a box; views, not copies."""
        return Look(body_margin=self.body_margin[box], posterior=self.posterior[box], grid=self.grid.crop(box))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Delineation:
    """What the fine network says of the crop around the column.

    Parameters
    ----------
    maps : probability of each class, mean of both looks, axes [z, y, x].
    grid : the LPS-parallel grid that the maps lie on, of the network's voxel size.
    looks : both looks; bodies are outlined from them, each on its own lattice.
    hu_zyx : the HU on that grid.
    noisy : whether there is more noise than the networks have learnt to see through. The HU were slightly smoothed then, and outlines are
        not refined: in the grain of a sharp kernel (verse012) refined ones are worse, Dice of whole vertebrae 0.79 instead of 0.88.
    """

    maps: ClassMaps
    grid: Grid
    looks: tuple[Look, Look]
    hu_zyx: NDArray[np.float32]
    noisy: bool


def delineate_column(
    volume: Volume,
    low_lps_mm: NDArray[np.float64],
    high_lps_mm: NDArray[np.float64],
    runner: NetworkRunner,
    progress: Callable[[float], None] | None = None,
) -> Delineation:
    """Show the network the crop, and its mirror image on a lattice half a voxel off."""
    report = progress or (lambda _share: None)
    spacing_mm = runner.bundle.spacing_mm
    grid = analysis_grid(low_lps_mm, high_lps_mm, spacing_mm)
    between = Grid(shape_zyx=grid.shape_zyx, voxel_to_lps=grid.voxel_to_lps.copy())
    between.voxel_to_lps[:3, 3] += HALF_A_VOXEL * spacing_mm
    hu = volume.resample(grid).hu_zyx.astype(np.float32, copy=False)
    noisy = is_noisy(hu, spacing_mm)
    first = _look(hu, runner, noisy=noisy, mirrored=False, progress=lambda share: report(share / 2))
    hu_between = volume.resample(between).hu_zyx.astype(np.float32, copy=False)
    second = _look(hu_between, runner, noisy=noisy, mirrored=True, progress=lambda share: report(0.5 + share / 2))
    looks = (
        Look(body_margin=first.body_margin(), posterior=first.posterior_bone(), grid=grid),
        Look(body_margin=second.body_margin(), posterior=second.posterior_bone(), grid=between),
    )
    return Delineation(maps=_mean(first, second), grid=grid, looks=looks, hu_zyx=hu, noisy=noisy)


def _look(
    hu_zyx: NDArray[np.float32], runner: NetworkRunner, *, noisy: bool, mirrored: bool, progress: Callable[[float], None]
) -> ClassMaps:
    hu = smoothed(hu_zyx, runner.bundle.spacing_mm) if noisy else hu_zyx
    out = runner.run(hu, window_zyx=WINDOW_ZYX, overlap=0.5, mirrored=mirrored, progress=progress)
    named = dict(zip(CLASS_NAMES, softmax_classes(out[: len(CLASS_NAMES)]), strict=True))
    named.pop("background")
    return ClassMaps(**named, heat=out[len(CLASS_NAMES)]).with_dark_marrow()


def _mean(first: ClassMaps, second: ClassMaps) -> ClassMaps:
    """Mean of both looks on the lattice of the first."""
    means = {}
    for field in fields(first):
        mean = half_a_voxel_back(getattr(second, field.name))
        mean += getattr(first, field.name)
        mean *= np.float32(0.5)
        means[field.name] = mean
    return ClassMaps(**means)


def half_a_voxel_back(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """A field on the lattice half a voxel before its own along each axis: the mean of the eight neighbours, at the edge of the nearest."""
    moved = field
    for axis in range(field.ndim):
        source = np.moveaxis(moved, axis, 0)
        moved = np.empty_like(moved)
        target = np.moveaxis(moved, axis, 0)
        np.add(source[1:], source[:-1], out=target[1:])
        target[1:] *= np.float32(0.5)
        target[0] = source[0]
    return moved
