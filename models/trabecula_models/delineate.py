"""Second look: the fine network over the crop around the column."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.bodies import ClassMaps
from trabecula_models.inference import NetworkRunner, softmax_classes
from trabecula_models.locate import CLASS_NAMES, LocatedColumn
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


def steadied(hu_zyx: NDArray[np.float32], spacing_mm: float) -> NDArray[np.float32]:
    """The HU, slightly smoothed where noise is stronger than the network has learnt to see through."""
    smooth = ndimage.gaussian_filter(hu_zyx, SMOOTHING_MM / spacing_mm)
    soft = (hu_zyx > SOFT_TISSUE_HU[0]) & (hu_zyx < SOFT_TISSUE_HU[1])
    if not soft.any():
        return hu_zyx
    grain_hu = SD_PER_MEDIAN_DEVIATION * float(np.median(np.abs(hu_zyx - smooth)[soft]))
    return smooth if grain_hu > SMOOTHED_FROM_HU else hu_zyx


def delineate_column(
    volume: Volume, located: LocatedColumn, runner: NetworkRunner, progress: Callable[[float], None] | None = None
) -> tuple[ClassMaps, Grid]:
    """Probability of each class on the fine grid of the crop.

    Returns
    -------
    maps : probabilities, axes [z, y, x].
    grid : the LPS-parallel grid they lie on, of the network's voxel size.
    """
    grid = analysis_grid(located.low_lps_mm, located.high_lps_mm, runner.bundle.spacing_mm)
    hu = volume.resample(grid).hu_zyx.astype(np.float32, copy=False)
    out = runner.run(steadied(hu, runner.bundle.spacing_mm), window_zyx=WINDOW_ZYX, overlap=0.5, mirror=True, progress=progress)
    probability = softmax_classes(out[: len(CLASS_NAMES)])
    named = dict(zip(CLASS_NAMES, probability, strict=True))
    named.pop("background")
    return ClassMaps(**named, heat=out[len(CLASS_NAMES)]), grid
