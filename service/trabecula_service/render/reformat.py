"""Flat pictures of a curved column: sagittal and coronal planes that follow the centres of the vertebral bodies.

The picture keeps true millimetres along its own axes; only the third coordinate (left-right for the sagittal, front-back for the coronal
picture) follows the column, so that a scoliotic spine does not leave the plane.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from trabecula_morphometry.volume import AIR_HU, LabelVolume, Volume

View = Literal["sagittal", "coronal"]

_MARGIN_ABOVE_MM = 30.0
_ANTERIOR_MM, _POSTERIOR_MM = 45.0, 75.0
_LATERAL_MM = 60.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ReformattedPlane:
    """One reformatted picture.

    Parameters
    ----------
    hu : (rows, columns) Hounsfield units; rows go from superior to inferior.
    labels : (rows, columns) body labels at the same places.
    pixel_mm : edge of a pixel.
    first_mm : LPS coordinate along the columns of column 0 (y for sagittal, x for coronal).
    top_mm : LPS z of row 0.
    axis : LPS axis of the columns (1 for sagittal, 0 for coronal).
    label_step_mm : distance of the label voxels along the column, for smoothing outlines.
    """

    hu: NDArray[np.float32]
    labels: NDArray[np.uint8]
    pixel_mm: float
    first_mm: float
    top_mm: float
    axis: int
    label_step_mm: float

    def to_pixel(self, point_lps_mm: Sequence[float]) -> tuple[float, float]:
        """Column and row of an LPS point, projected on the picture."""
        return (point_lps_mm[self.axis] - self.first_mm) / self.pixel_mm, (self.top_mm - point_lps_mm[2]) / self.pixel_mm

    def outlines(self, label: int) -> list[NDArray[np.float64]]:
        """Outlines of one label as (n, 2) arrays of column, row."""
        found = ndimage.find_objects((self.labels == label).astype(np.uint8), max_label=1)[0]
        if found is None:
            return []
        # Thick slices make stairs of nearest labels; a blur of a third of the step rounds them without moving the edge.
        sigma = max(0.7, 0.33 * self.label_step_mm / self.pixel_mm)
        reach = int(np.ceil(3 * sigma)) + 1
        rows, columns = found
        first_row, first_column = max(rows.start - reach, 0), max(columns.start - reach, 0)
        part = self.labels[first_row : rows.stop + reach, first_column : columns.stop + reach] == label
        smooth = ndimage.gaussian_filter(np.pad(part.astype(np.float32), 1), sigma)
        return [contour[:, ::-1] + (first_column - 1, first_row - 1) for contour in measure.find_contours(smooth, 0.5) if len(contour) > 8]


def _top_and_bottom_mm(volume: Volume, centers_lps_mm: Sequence[Sequence[float]]) -> tuple[float, float]:
    """LPS z where a picture of these bodies begins and ends."""
    low, high = volume.grid.bounds_lps_mm()
    if len(centers_lps_mm) == 0:
        return float(high[2]), float(low[2])
    z = [float(center[2]) for center in centers_lps_mm]
    return float(min(max(z) + _MARGIN_ABOVE_MM, high[2])), float(max(min(z) - _MARGIN_ABOVE_MM, low[2]))


def column_rows(volume: Volume, centers_lps_mm: Sequence[Sequence[float]], pixel_mm: float) -> int:
    """Rows of a picture of the column whose pixels are to have this edge."""
    top, bottom = _top_and_bottom_mm(volume, centers_lps_mm)
    return int(np.ceil((top - bottom) / pixel_mm)) + 1


def reformat(
    volume: Volume, bodies: LabelVolume, centers_lps_mm: Sequence[Sequence[float]], view: View, rows: int, *, offset_mm: float = 0.0
) -> ReformattedPlane:
    """Cut a plane along the column through the volume.

    Parameters
    ----------
    centers_lps_mm : centres of the bodies; without any the plane goes through the middle of the volume.
    rows : height of the picture; its pixel size follows from the length of the column.
    offset_mm : distance of the plane from the centres, to the left (sagittal) or to the back (coronal).
    """
    low, high = volume.grid.bounds_lps_mm()
    top, bottom = _top_and_bottom_mm(volume, centers_lps_mm)
    centers = np.asarray(centers_lps_mm, dtype=np.float64) if len(centers_lps_mm) else ((low + high) / 2)[None]
    centers = centers[np.argsort(centers[:, 2])]
    pixel_mm = max((top - bottom) / (rows - 1), 0.2)
    z = top - pixel_mm * np.arange(rows)
    axis = 1 if view == "sagittal" else 0
    before, after = (_ANTERIOR_MM, _POSTERIOR_MM) if view == "sagittal" else (_LATERAL_MM, _LATERAL_MM)
    first = centers[:, axis].min() - before
    across = np.arange(first, centers[:, axis].max() + after, pixel_mm)
    points = np.empty((rows, across.size, 3))
    points[..., axis] = across
    points[..., 1 - axis] = np.interp(z, centers[:, 2], centers[:, 1 - axis])[:, None] + offset_mm
    points[..., 2] = z[:, None]
    voxels = np.moveaxis(volume.grid.to_voxel(points), -1, 0)[::-1]
    hu = _sample(volume.hu_zyx, voxels)
    return ReformattedPlane(
        hu=hu,
        labels=bodies.sample(points),
        pixel_mm=float(pixel_mm),
        first_mm=float(first),
        top_mm=float(top),
        axis=axis,
        label_step_mm=bodies.grid.slice_spacing_mm,
    )


def _sample(hu_zyx: NDArray[np.generic], voxels_zyx: NDArray[np.float64]) -> NDArray[np.float32]:
    """Linear interpolation in the box that the plane touches; converting the whole series to float would cost a second."""
    size = np.array(hu_zyx.shape)
    flat = voxels_zyx.reshape(3, -1)
    low = np.clip(np.floor(flat.min(axis=1)).astype(int) - 1, 0, size - 1)
    high = np.clip(np.ceil(flat.max(axis=1)).astype(int) + 2, low + 1, size)
    part = hu_zyx[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    moved = voxels_zyx - low.reshape(3, 1, 1)
    out: NDArray[np.float32] = ndimage.map_coordinates(part, moved, output=np.float32, order=1, mode="constant", cval=AIR_HU)
    return out
