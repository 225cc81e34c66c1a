"""Digital phantom scans of known truth: any definition, any pose, tube voltage, noise and slice thickness; alone or under a patient."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_calibration.phantom_definition import PhantomDefinition
from trabecula_calibration.phantom_fit import insert_hu
from trabecula_calibration.phantom_pose import PhantomPose
from trabecula_morphometry.volume import Grid, Volume

PLASTIC_HU = 5.0
CORTICAL_WALL_MM = 1.0
CORTICAL_HU = 900.0
FINE_SLICES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomScanOptions:
    """How a digital phantom is scanned.

    Parameters
    ----------
    pose : where the phantom lies; its scale stretches the whole phantom.
    slope_mg_cm3_per_hu, intercept_mg_cm3 : the true line of the scanner; what a fit must find.
    noise_sd_hu : SD of the noise of a 1 mm slice; thicker slices have less.
    blur_mm : SD of the in-plane point spread.
    spacing_xyz_mm, size_mm : voxel size, and the field (x, y, z), centred on the origin.
    seed : of the noise.
    """

    pose: PhantomPose
    slope_mg_cm3_per_hu: float
    intercept_mg_cm3: float = 0.0
    noise_sd_hu: float = 12.0
    blur_mm: float = 0.7
    spacing_xyz_mm: tuple[float, float, float] = (0.9, 0.9, 2.5)
    size_mm: tuple[float, float, float] = (360.0, 300.0, 120.0)
    seed: int = 1


def make_phantom_scan(definition: PhantomDefinition, options: PhantomScanOptions) -> Volume:
    """A scan of the phantom alone, lying on a thin table in air."""
    spacing, size = np.array(options.spacing_xyz_mm), np.array(options.size_mm)
    count = np.maximum(np.round(size / spacing).astype(int), 1)
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = -(count - 1) / 2 * spacing
    grid = Grid(shape_zyx=(int(count[2]), int(count[1]), int(count[0])), voxel_to_lps=matrix)
    return paint_phantom(Volume(hu_zyx=np.full(grid.shape_zyx, -1000.0, dtype=np.float32), grid=grid), definition, options)


def paint_phantom(volume: Volume, definition: PhantomDefinition, options: PhantomScanOptions) -> Volume:
    """The volume with the phantom painted over what is there (axis-parallel grids), blurred at its edges, then noise over the phantom.

    Thin sub-slices are averaged, so that tilt and thick slices mix inserts with what surrounds them as a scanner does.
    """
    grid = volume.grid
    spacing, origin = grid.spacing_xyz_mm, grid.voxel_to_lps[:3, 3]
    nz, ny, nx = grid.shape_zyx
    x, y = origin[0] + spacing[0] * np.arange(nx), origin[1] + spacing[1] * np.arange(ny)
    rng = np.random.default_rng(options.seed)
    noise_sd = options.noise_sd_hu / max(float(spacing[2]), 1.0) ** 0.5
    sigma = options.blur_mm / spacing[0]
    out = np.empty(grid.shape_zyx, dtype=np.float32)
    for k in range(nz):
        slices = []
        for part in range(FINE_SLICES):
            z = origin[2] + spacing[2] * (k + (part + 0.5) / FINE_SLICES - 0.5)
            points = np.stack(np.broadcast_arrays(x[None, :], y[:, None], np.float64(z)), axis=-1)
            slices.append(_paint_slice(volume.hu_zyx[k].astype(np.float32), points, definition, options))
        painted = ndimage.gaussian_filter(np.mean(slices, axis=0), sigma)
        # Blurred white noise of the wanted SD.
        noise = ndimage.gaussian_filter(rng.standard_normal((ny, nx)), 0.8)
        out[k] = painted + noise_sd * noise / noise.std()
    return Volume(hu_zyx=np.rint(np.clip(out, -1024, 3071)).astype(np.int16), grid=grid)


def _paint_slice(
    hu: NDArray[np.float32], points: NDArray[np.float64], definition: PhantomDefinition, options: PhantomScanOptions
) -> NDArray[np.float32]:
    pose = options.pose
    local = (points - np.asarray(pose.origin_lps_mm)) @ pose.axes.T / pose.scale
    across, down, along = local[..., 0], local[..., 1], local[..., 2]
    width, height = definition.body_mm
    inside = (np.abs(along) <= definition.length_mm / 2) & _in_body(across, down, width, height, stacked=definition.stacked)
    hu = np.where(inside, np.float32(PLASTIC_HU), hu)
    for insert in definition.inserts:
        a, d, z = insert.center_mm
        distance = np.hypot(across - a, down - d)
        value = insert_hu(definition, insert, 1.0 / options.slope_mg_cm3_per_hu, -options.intercept_mg_cm3 / options.slope_mg_cm3_per_hu)
        if insert.half_length_mm is None:
            hu = np.where(inside & (distance <= insert.radius_mm), np.float32(value), hu)
            continue
        beyond = np.abs(along - z)
        shell = (distance <= insert.radius_mm + CORTICAL_WALL_MM) & (beyond <= insert.half_length_mm + CORTICAL_WALL_MM)
        core = (distance <= insert.radius_mm) & (beyond <= insert.half_length_mm)
        hu = np.where(core, np.float32(value), np.where(shell, np.float32(CORTICAL_HU), hu))
    return hu


def _in_body(
    across: NDArray[np.float64], down: NDArray[np.float64], width_mm: float, height_mm: float, *, stacked: bool
) -> NDArray[np.bool_]:
    """An oval body for spine phantoms, a slab with rounded ends for the others."""
    if stacked:
        return np.asarray((across / (width_mm / 2)) ** 2 + (down / (height_mm / 2)) ** 2 <= 1.0)
    half = height_mm / 2
    beyond = np.maximum(np.abs(across) - (width_mm / 2 - half), 0.0)
    return np.asarray(np.hypot(beyond, down) <= half)
