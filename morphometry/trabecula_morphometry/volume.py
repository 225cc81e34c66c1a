"""A CT volume and a label volume on voxel grids placed in LPS millimetres.

LPS is DICOM's own space: x to the patient's Left, y to Posterior, z to Superior. Arrays are indexed ``[z, y, x]``, matrices map
voxel ``(x, y, z, 1)`` to LPS millimetres. A matrix may hold a shear: that is how a tilted gantry is kept without resampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_morphometry.errors import GeometryError

AIR_HU = -1024
"""Value of voxels that hold no measurement (padding, outside the grid)."""

Affine = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Grid:
    """A voxel grid in LPS millimetres.

    Parameters
    ----------
    shape_zyx : number of voxels along z, y, x.
    voxel_to_lps : (4, 4) matrix from voxel (x, y, z, 1) to LPS millimetres; may be oblique or sheared, not singular.
    """

    shape_zyx: tuple[int, int, int]
    voxel_to_lps: Affine

    def __post_init__(self) -> None:
        matrix = np.asarray(self.voxel_to_lps, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
            raise GeometryError("the voxel grid has no volume", hint="check pixel spacing, orientation and slice positions")
        object.__setattr__(self, "voxel_to_lps", matrix)

    @property
    def spacing_xyz_mm(self) -> NDArray[np.float64]:
        """Distance between neighbouring voxels along x, y, z (for a sheared grid: along the sheared step)."""
        spacing: NDArray[np.float64] = np.linalg.norm(self.voxel_to_lps[:3, :3], axis=0)
        return spacing

    @property
    def slice_normal_lps(self) -> NDArray[np.float64]:
        """Unit normal of the slice planes (for a sheared grid not the direction of the slice step)."""
        x_step, y_step, _ = self.voxel_to_lps[:3, :3].T
        normal = np.cross(x_step, y_step)
        unit: NDArray[np.float64] = normal / np.linalg.norm(normal)
        return unit

    @property
    def slice_spacing_mm(self) -> float:
        """Distance between neighbouring slice planes, along their normal."""
        return float(abs(self.voxel_to_lps[:3, 2] @ self.slice_normal_lps))

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel."""
        return float(abs(np.linalg.det(self.voxel_to_lps[:3, :3])))

    def to_lps(self, voxels_xyz: NDArray[Any] | Sequence[Any]) -> NDArray[np.float64]:
        """Voxel coordinates (..., 3) in order x, y, z to LPS millimetres (..., 3)."""
        points: NDArray[np.float64] = np.asarray(voxels_xyz, dtype=np.float64) @ self.voxel_to_lps[:3, :3].T + self.voxel_to_lps[:3, 3]
        return points

    def to_voxel(self, points_lps_mm: NDArray[Any] | Sequence[Any]) -> NDArray[np.float64]:
        """LPS millimetres (..., 3) to voxel coordinates (..., 3) in order x, y, z."""
        inverse = np.linalg.inv(self.voxel_to_lps)
        voxels: NDArray[np.float64] = np.asarray(points_lps_mm, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3]
        return voxels

    def crop(self, box_zyx: tuple[slice, ...]) -> "Grid":
        """The grid of ``array[box_zyx]``; the slices have step 1 and start at or after 0."""
        ranges = [part.indices(count) for part, count in zip(box_zyx, self.shape_zyx, strict=True)]
        matrix = self.voxel_to_lps.copy()
        matrix[:3, 3] = self.to_lps([start for start, _, _ in ranges[::-1]])
        nz, ny, nx = (stop - start for start, stop, _ in ranges)
        return Grid(shape_zyx=(nz, ny, nx), voxel_to_lps=matrix)

    def bounds_lps_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest LPS coordinate of the voxel centres at the eight corners."""
        top = np.array(self.shape_zyx[::-1]) - 1
        corners = self.to_lps(np.array(np.meshgrid(*[(0, n) for n in top])).reshape(3, -1).T)
        return corners.min(axis=0), corners.max(axis=0)

    def contains(self, points_lps_mm: NDArray[Any] | Sequence[Any], margin_mm: float = 0.0) -> NDArray[np.bool_]:
        """Whether points (..., 3) lie inside the grid, at least ``margin_mm`` from its faces."""
        voxels = self.to_voxel(points_lps_mm)
        margin = margin_mm / self.spacing_xyz_mm
        inside = np.logical_and(voxels >= margin - 0.5, voxels <= np.array(self.shape_zyx[::-1]) - 0.5 - margin)
        return np.asarray(inside.all(axis=-1))


def analysis_grid(
    low_lps_mm: Sequence[float] | NDArray[Any],
    high_lps_mm: Sequence[float] | NDArray[Any],
    spacing_mm: float,
    *,
    through_lps_mm: Sequence[float] | NDArray[Any] | None = None,
) -> Grid:
    """A grid parallel to the LPS axes that covers a box, with equal spacing; increases towards left, posterior, superior.

    With ``through_lps_mm`` the grid is moved, by less than a voxel, so that this point lies on its lattice.
    """
    low, high = np.asarray(low_lps_mm, dtype=np.float64), np.asarray(high_lps_mm, dtype=np.float64)
    if through_lps_mm is not None:
        through = np.asarray(through_lps_mm, dtype=np.float64)
        low = through + np.floor((low - through) / spacing_mm + 1e-6) * spacing_mm
    count = np.maximum(np.ceil((high - low) / spacing_mm).astype(int) + 1, 1)
    matrix = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    matrix[:3, 3] = low
    return Grid(shape_zyx=(int(count[2]), int(count[1]), int(count[0])), voxel_to_lps=matrix)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Volume:
    """CT in Hounsfield units on a grid.

    Parameters
    ----------
    hu_zyx : int16 or float32, Hounsfield units, axes [z, y, x]; padding holds ``AIR_HU``.
    grid : where the voxels lie.
    """

    hu_zyx: NDArray[Any]
    grid: Grid

    def __post_init__(self) -> None:
        if self.hu_zyx.shape != self.grid.shape_zyx:
            raise GeometryError("array and grid differ in shape", where=f"{self.hu_zyx.shape} and {self.grid.shape_zyx}")

    def sample(self, points_lps_mm: NDArray[Any], order: int = 1) -> NDArray[np.float32]:
        """HU at LPS points (..., 3), by spline interpolation of ``order``; ``AIR_HU`` outside."""
        voxels = self.grid.to_voxel(points_lps_mm)
        coordinates = np.moveaxis(voxels[..., ::-1], -1, 0)
        values: NDArray[np.float32] = ndimage.map_coordinates(
            self.hu_zyx, coordinates, output=np.float32, order=order, mode="constant", cval=AIR_HU
        )
        return values

    def smooth_sample(self, points_lps_mm: NDArray[Any]) -> NDArray[np.float32]:
        """HU at LPS points (..., 3) that lie close together, by cubic splines; beyond the grid the outermost voxels go on.

        A cubic spline places an edge between two slices evenly, where linear interpolation draws it to the slices.
        """
        flat = points_lps_mm.reshape(-1, 3)
        part = self.crop(flat.min(axis=0) - 4 * self.grid.spacing_xyz_mm.max(), flat.max(axis=0) + 4 * self.grid.spacing_xyz_mm.max())
        coefficients = ndimage.spline_filter(part.hu_zyx, order=3, output=np.float32, mode="mirror")
        coordinates = np.moveaxis(part.grid.to_voxel(points_lps_mm)[..., ::-1], -1, 0)
        values: NDArray[np.float32] = ndimage.map_coordinates(
            coefficients, coordinates, output=np.float32, order=3, mode="nearest", prefilter=False
        )
        return values

    def crop(self, low_lps_mm: NDArray[Any], high_lps_mm: NDArray[Any]) -> Self:
        """The part of the volume whose voxels may touch a box; a view, not a copy."""
        corners = np.array(np.meshgrid(*zip(low_lps_mm, high_lps_mm, strict=True))).reshape(3, -1).T
        voxels = self.grid.to_voxel(corners)
        size = np.array(self.grid.shape_zyx[::-1])
        first = np.clip(np.floor(voxels.min(axis=0)).astype(int) - 1, 0, size - 1)
        last = np.clip(np.ceil(voxels.max(axis=0)).astype(int) + 2, first + 1, size)
        matrix = self.grid.voxel_to_lps.copy()
        matrix[:3, 3] = self.grid.to_lps(first)
        part = self.hu_zyx[first[2] : last[2], first[1] : last[1], first[0] : last[0]]
        return type(self)(hu_zyx=part, grid=Grid(shape_zyx=part.shape, voxel_to_lps=matrix))

    def along_lps(self) -> "Volume":
        """The same voxels with axes in the order and direction nearest to left, posterior, superior; a view, not a copy.

        What is computed on this does not depend on how the slices were stored (rows from below, sagittal stacks, feet first).
        """
        steps = self.grid.voxel_to_lps[:3, :3] / self.grid.spacing_xyz_mm
        order = np.array(max(permutations(range(3)), key=lambda axes: float(sum(abs(steps[lps, axis]) for lps, axis in enumerate(axes)))))
        matrix = np.eye(4)
        matrix[:3, :3] = self.grid.voxel_to_lps[:3, order]
        first = np.zeros(3)
        flips = [slice(None)] * 3
        for lps, axis in enumerate(order):
            if steps[lps, axis] < 0:
                first[axis] = self.grid.shape_zyx[2 - axis] - 1
                matrix[:3, lps] *= -1
                flips[2 - lps] = slice(None, None, -1)
        matrix[:3, 3] = self.grid.to_lps(first)
        hu = self.hu_zyx.transpose(tuple(2 - order[::-1]))[tuple(flips)]
        return Volume(hu_zyx=hu, grid=Grid(shape_zyx=hu.shape, voxel_to_lps=matrix))

    def reduce(self, factors_xyz: tuple[int, int, int]) -> "Volume":
        """Averages over blocks of voxels (float32), slab by slab so that memory stays small; incomplete blocks at the ends are dropped."""
        fx, fy, fz = (min(f, n) for f, n in zip(factors_xyz, self.hu_zyx.shape[::-1], strict=True))
        nz, ny, nx = (n // f for n, f in zip(self.hu_zyx.shape, (fz, fy, fx), strict=True))
        out = np.empty((nz, ny, nx), dtype=np.float32)
        for z in range(nz):
            slab = self.hu_zyx[z * fz : (z + 1) * fz, : ny * fy, : nx * fx].sum(axis=0, dtype=np.float32)
            rows = _sum_of_every(slab, fy)
            out[z] = _sum_of_every(rows.T, fx).T
        out /= fx * fy * fz
        factors = np.array([fx, fy, fz], dtype=np.float64)
        matrix = self.grid.voxel_to_lps.copy()
        matrix[:3, 3] = self.grid.to_lps((factors - 1) / 2)
        matrix[:3, :3] *= factors
        return Volume(hu_zyx=out, grid=Grid(shape_zyx=out.shape, voxel_to_lps=matrix))

    def resample(self, grid: Grid, *, antialias: bool = True) -> "Volume":
        """Linear interpolation on another grid (float32), averaged first along axes that lose resolution."""
        low, high = grid.bounds_lps_mm()
        reach = float(grid.spacing_xyz_mm.max()) * 2 + float(self.grid.spacing_xyz_mm.max())
        part = self.crop(low - reach, high + reach)
        step = np.linalg.inv(part.grid.voxel_to_lps) @ grid.voxel_to_lps
        source = part.hu_zyx
        if antialias:
            # A target voxel spans this many source voxels along each source axis; averaging over them keeps noise from aliasing.
            span_xyz = np.abs(step[:3, :3]).sum(axis=1)
            factors = np.maximum(np.floor(span_xyz + 0.25).astype(int), 1)
            if factors.max() > 1:
                return part.reduce((int(factors[0]), int(factors[1]), int(factors[2]))).resample(grid, antialias=False)
            sigma_zyx = tuple(0.35 * np.sqrt(max(s * s - 1.0, 0.0)) for s in span_xyz[::-1])
            if max(sigma_zyx) > 0.2:
                source = ndimage.gaussian_filter(source.astype(np.float32), sigma_zyx, mode="nearest", truncate=2.5)
        swap = np.eye(4)[[2, 1, 0, 3]]
        matrix_zyx = swap @ step @ swap
        hu = ndimage.affine_transform(
            source,
            matrix_zyx[:3, :3],
            matrix_zyx[:3, 3],
            output_shape=grid.shape_zyx,
            output=np.float32,
            order=1,
            mode="constant",
            cval=AIR_HU,
        )
        return Volume(hu_zyx=hu, grid=grid)


def _sum_of_every(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Sums over blocks of ``count`` rows (blocks * count, columns): added row by row, ten times as fast as ``np.add.reduceat``."""
    total = rows[::count].copy()
    for offset in range(1, count):
        total += rows[offset::count]
    return total


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LabelVolume:
    """Integer labels (VerSe numbers, see ``levels``) on a grid, axes [z, y, x], 0 = nothing."""

    labels_zyx: NDArray[np.uint8]
    grid: Grid

    def __post_init__(self) -> None:
        if self.labels_zyx.shape != self.grid.shape_zyx:
            raise GeometryError("array and grid differ in shape", where=f"{self.labels_zyx.shape} and {self.grid.shape_zyx}")

    def sample(self, points_lps_mm: NDArray[Any]) -> NDArray[np.uint8]:
        """Label of the voxel that holds each LPS point (..., 3); 0 outside."""
        voxels = np.rint(self.grid.to_voxel(points_lps_mm)).astype(int)
        size = np.array(self.grid.shape_zyx[::-1])
        inside = ((voxels >= 0) & (voxels < size)).all(axis=-1)
        out = np.zeros(voxels.shape[:-1], dtype=np.uint8)
        x, y, z = (voxels[inside][:, i] for i in range(3))
        out[inside] = self.labels_zyx[z, y, x]
        return out

    def resample(self, grid: Grid) -> "LabelVolume":
        """Nearest label on another grid; only the part of it that labels reach is computed."""
        out = np.zeros(grid.shape_zyx, dtype=np.uint8)
        boxes = ndimage.find_objects((self.labels_zyx > 0).astype(np.uint8), max_label=1)
        if not boxes or boxes[0] is None:
            return LabelVolume(labels_zyx=out, grid=grid)
        corners = np.array(np.meshgrid(*[(s.start - 0.5, s.stop - 0.5) for s in boxes[0][::-1]])).reshape(3, -1).T
        voxels = grid.to_voxel(self.grid.to_lps(corners))
        size = np.array(grid.shape_zyx[::-1])
        first = np.clip(np.floor(voxels.min(axis=0)).astype(int), 0, size)
        last = np.clip(np.ceil(voxels.max(axis=0)).astype(int) + 1, first, size)
        if (last <= first).any():
            return LabelVolume(labels_zyx=out, grid=grid)
        matrix = grid.voxel_to_lps.copy()
        matrix[:3, 3] = grid.to_lps(first)
        swap = np.eye(4)[[2, 1, 0, 3]]
        step = swap @ np.linalg.inv(self.grid.voxel_to_lps) @ matrix @ swap
        shape = tuple(int(n) for n in (last - first)[::-1])
        region = tuple(slice(int(f), int(e)) for f, e in zip(first[::-1], last[::-1], strict=True))
        out[region] = ndimage.affine_transform(
            self.labels_zyx, step[:3, :3], step[:3, 3], output_shape=shape, output=np.uint8, order=0, mode="grid-constant", cval=0
        )
        return LabelVolume(labels_zyx=out, grid=grid)
