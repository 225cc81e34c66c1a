"""How far apart the acquired slices really are, and where some are missing: a regridded volume no longer shows it."""

from dataclasses import dataclass

import numpy as np

from trabecula_service.dicom.image import CtImage

GAP_RATIO = 1.5
"""A step this much longer than the usual one means that a slice is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSteps:
    """Steps of the acquired slices along the slice normal.

    ``spacing_mm`` is the largest step that is no gap; ``gaps_mm`` are the intervals (from, to) along ``normal_lps`` without slices.
    """

    spacing_mm: float
    gaps_mm: tuple[tuple[float, float], ...]
    normal_lps: tuple[float, float, float]

    def crosses_gap(self, low_mm: float, high_mm: float) -> bool:
        """Whether an interval along the normal touches a gap."""
        return any(low_mm < end and start < high_mm for start, end in self.gaps_mm)


def slice_steps(image: CtImage) -> SliceSteps:
    """Steps of an image; of an even one simply its voxel size along the normal."""
    x_step, y_step, _ = image.volume.grid.voxel_to_lps[:3, :3].T
    normal = np.cross(x_step, y_step)
    normal /= np.linalg.norm(normal)
    normal_lps = (float(normal[0]), float(normal[1]), float(normal[2]))
    even = SliceSteps(spacing_mm=image.volume.grid.slice_spacing_mm, gaps_mm=(), normal_lps=normal_lps)
    if image.even_slices or len(image.headers) < 3:
        return even
    places = np.unique([round(float(np.dot([float(v) for v in header.ImagePositionPatient], normal)), 3) for header in image.headers])
    steps = np.diff(places)
    is_gap = steps > GAP_RATIO * float(np.median(steps))
    gaps = tuple((float(places[i]), float(places[i + 1])) for i in np.flatnonzero(is_gap))
    return SliceSteps(spacing_mm=float(steps[~is_gap].max()), gaps_mm=gaps, normal_lps=normal_lps)
