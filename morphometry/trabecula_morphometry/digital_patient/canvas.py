"""Where the patient is painted: HU on a voxel grid, one solid over another, blurred as a scanner would."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_morphometry.digital_patient.solids import Field, Points, coverage

IN_PLANE_BLUR_MM = 0.55
"""SD of the point spread in the slice plane: MTF50 about 0.34 per mm, a soft-tissue kernel."""

Box = tuple[slice, slice, slice]
Corner = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Canvas:
    """HU (float32, axes [z, y, x]) with the LPS coordinate of every row of voxels along each axis, ascending."""

    hu_zyx: Field
    x_mm: Field
    y_mm: Field
    z_mm: Field

    def box(self, low_mm: Corner, high_mm: Corner) -> Box | None:
        """Voxels between two corners (x, y, z); None if there are none."""
        slices = []
        for axis, low, high in zip((self.z_mm, self.y_mm, self.x_mm), low_mm[::-1], high_mm[::-1], strict=True):
            first, last = np.searchsorted(axis, (low, high))
            if first == last:
                return None
            slices.append(slice(int(first), int(last)))
        return slices[0], slices[1], slices[2]

    def points(self, box: Box) -> Points:
        """Coordinates of the voxels of a box, shaped to broadcast."""
        return Points(self.x_mm[None, None, box[2]], self.y_mm[None, box[1], None], self.z_mm[box[0], None, None])

    def paint(self, box: Box, distance_mm: Field, hu: Field | float, blur_mm: float = IN_PLANE_BLUR_MM) -> None:
        """Cover what is there with a solid of some attenuation, with partial volume at its edge."""
        view = self.hu_zyx[box]
        view += coverage(distance_mm, blur_mm) * (hu - view)

    def part(self, box: Box) -> "Canvas":
        """The same canvas, seen through a box."""
        return Canvas(hu_zyx=self.hu_zyx[box], x_mm=self.x_mm[box[2]], y_mm=self.y_mm[box[1]], z_mm=self.z_mm[box[0]])


def finer_slices(canvas: Canvas, factor: int) -> Canvas:
    """A copy with every slice repeated ``factor`` times at its finer positions, so that thin plates are painted truly."""
    step = float(canvas.z_mm[1] - canvas.z_mm[0])
    offsets = ((np.arange(factor) + 0.5) / factor - 0.5) * step
    z = (canvas.z_mm[:, None] + offsets[None].astype(np.float32)).ravel()
    return Canvas(hu_zyx=np.repeat(canvas.hu_zyx, factor, axis=0), x_mm=canvas.x_mm, y_mm=canvas.y_mm, z_mm=z)


def coarser_slices(hu_zyx: Field, factor: int) -> Field:
    """Undo ``finer_slices`` with a slice profile like a scanner's: a box as wide as the spacing, its edges softened."""
    if factor == 1:
        return hu_zyx
    soft = ndimage.gaussian_filter1d(hu_zyx, 0.25 * factor, axis=0, mode="nearest", truncate=3)
    result: Field = soft.reshape(hu_zyx.shape[0] // factor, factor, *hu_zyx.shape[1:]).mean(axis=1)
    return result


def smooth_random(rng: np.random.Generator, shape: tuple[int, int, int], sigma_voxels: tuple[float, float, float]) -> Field:
    """Gaussian random field of mean 0 and SD 1 with a given correlation."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma_voxels, mode="wrap", truncate=3)
    result: NDArray[np.float32] = (noise - noise.mean()) / noise.std()
    return result
