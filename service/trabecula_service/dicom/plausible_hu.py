"""Tells from a histogram whether the values of an image can be Hounsfield units (pure).

A body in CT shows fat and soft tissue between -200 and 300 HU, and hardly anything near +1000 HU. The limits below are far from what
real CT gives: in nine body CT of the evidence set 34-77 % of all voxels were body (above -300), 86-98 % of those in the soft window,
and at most 0.5 % of all voxels between 874 and 1174 HU (head CT: 1.5 %); with the intercept lost, a third and more lies there.
"""

import numpy as np
from numpy.typing import NDArray

from trabecula_service.dicom.pixels import HISTOGRAM_LOW_HU

BODY_FROM_HU = -300
SOFT_WINDOW_HU = (-200, 300)
SHIFTED_WINDOW_HU = (874, 1174)
FAT_OR_AIR_BELOW_HU = -50

MIN_BODY_SHARE = 0.01
MIN_SOFT_SHARE = 0.25
MAX_SHIFTED_SHARE = 0.08
MIN_FAT_OR_AIR_SHARE = 0.002

CLIPPED_BELOW_HU = 2000
CLIPPED_VOXELS = 100


def why_not_hu(histogram: NDArray[np.int64]) -> str | None:
    """A sentence that says why the values are not Hounsfield units, or None where they can be.

    Parameters
    ----------
    histogram : counts (n,) of whole HU from -1024 upwards, padding left out.
    """
    total = int(histogram.sum())
    if total == 0:
        return "Every pixel is padding."
    if _count(histogram, *SHIFTED_WINDOW_HU) > MAX_SHIFTED_SHARE * total:
        return "Soft tissue lies near +1000: the rescale intercept was lost."
    body = _count(histogram, BODY_FROM_HU, None)
    if body < MIN_BODY_SHARE * total:
        return "There is no soft tissue: nearly all values lie below -300."
    if _count(histogram, *SOFT_WINDOW_HU) < MIN_SOFT_SHARE * body:
        return "Too little lies between -200 and 300, where fat and soft tissue belong."
    if _count(histogram, None, FAT_OR_AIR_BELOW_HU) < MIN_FAT_OR_AIR_SHARE * total:
        return "There is neither air nor fat: no values below -50."
    return None


def clipped_at_hu(histogram: NDArray[np.int64]) -> int | None:
    """The value at which an image was cut off at the top (many voxels at one low maximum), or None."""
    top = int(np.flatnonzero(histogram)[-1]) if histogram.any() else 0
    top_hu = top + HISTOGRAM_LOW_HU
    neighbours = int(histogram[max(top - 20, 0) : top].max(initial=0))
    is_piled_up = histogram[top] >= max(CLIPPED_VOXELS, 5 * neighbours)
    return top_hu if is_piled_up and BODY_FROM_HU < top_hu < CLIPPED_BELOW_HU else None


def _count(histogram: NDArray[np.int64], low_hu: int | None, high_hu: int | None) -> int:
    low = 0 if low_hu is None else low_hu - HISTOGRAM_LOW_HU
    high = len(histogram) if high_hu is None else high_hu - HISTOGRAM_LOW_HU
    return int(histogram[low:high].sum())
