"""Turns ideal HU into what a scanner's series looks like after resampling to the network's grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

AIR_HU = -1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """One scan: blur and slices in mm, noise SD in HU at the output grid, linear gain and shift of HU."""

    in_plane_sigma_mm: float
    sharpening: float
    slice_thickness_mm: float
    slice_step_mm: float
    noise_hu: float
    noise_correlation_mm: float
    gain: float
    shift_hu: float


def draw_acquisition(rng: np.random.Generator, thick_share: float = 0.0) -> Acquisition:
    """Draw a protocol: slices 1-5 mm (overlapping or contiguous), noise 3-80 HU before resampling, 30 % sharp kernels.

    ``thick_share`` of the scans have slices of 4 or 5 mm, besides those that have them anyway.
    """
    thickness = float(rng.choice([1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0], p=[0.17, 0.13, 0.1, 0.14, 0.12, 0.12, 0.08, 0.14]))
    if thick_share > 0 and rng.random() < thick_share:
        thickness = float(rng.choice([4.0, 5.0]))
    sharp = rng.random() < 0.3
    return Acquisition(
        in_plane_sigma_mm=float(rng.uniform(0.25, 0.9)),
        sharpening=float(rng.uniform(0.2, 0.8)) if sharp else 0.0,
        slice_thickness_mm=thickness * float(rng.uniform(1.0, 1.3)),
        slice_step_mm=thickness * float(rng.choice([1.0, 0.8, 0.5], p=[0.7, 0.15, 0.15])),
        noise_hu=float(np.exp(rng.uniform(np.log(3), np.log(70)))) * (1.2 if sharp else 1.0),
        noise_correlation_mm=0.4 if sharp else float(rng.uniform(0.5, 1.4)),
        gain=float(rng.uniform(0.92, 1.1)),
        shift_hu=float(rng.normal(0, 6)),
    )


def profile_matrix(
    targets_mm: NDArray[np.float64], source_mm: NDArray[np.float64], sigma_mm: float, box_mm: float, sharpening: float
) -> NDArray[np.float32]:
    """Return weights (targets x sources): a box convolved with a Gaussian, less a wider one when sharpened."""
    distance = np.abs(targets_mm[:, None] - source_mm[None])
    step = source_mm[1] - source_mm[0]
    sigma = max(sigma_mm, 0.3 * step)
    edge = np.maximum(distance - box_mm / 2, 0)
    weights = np.exp(-0.5 * (edge / sigma) ** 2)
    weights /= weights.sum(1, keepdims=True)
    if sharpening > 0:
        wide = np.exp(-0.5 * (distance / 1.6) ** 2)
        weights = (1 + sharpening) * weights - sharpening * wide / wide.sum(1, keepdims=True)
    return np.asarray(weights, np.float32)


def _interpolation_matrix(targets_mm: NDArray[np.float64], source_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    index = np.clip(np.searchsorted(source_mm, targets_mm) - 1, 0, len(source_mm) - 2)
    part = np.clip((targets_mm - source_mm[index]) / (source_mm[index + 1] - source_mm[index]), 0, 1)
    matrix = np.zeros((len(targets_mm), len(source_mm)), np.float32)
    rows = np.arange(len(targets_mm))
    matrix[rows, index] = 1 - part
    matrix[rows, index + 1] += part
    return matrix


def _grid(count: int, step_mm: float) -> NDArray[np.float64]:
    return np.asarray((np.arange(count) - (count - 1) / 2) * step_mm, np.float64)


def acquire(
    hu_fine: NDArray[np.float32],
    shape_zyx: tuple[int, int, int],
    spacing_mm: float,
    scan: Acquisition,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return the scan on a grid of `shape_zyx` at `spacing_mm`, covering the same field as `hu_fine`."""
    fine_mm = spacing_mm * shape_zyx[0] / hu_fine.shape[0]
    anti_alias = 0.3 * spacing_mm  # the inference side averages before it samples
    result = hu_fine
    for axis in (2, 1):
        matrix = profile_matrix(
            _grid(shape_zyx[axis], spacing_mm),
            _grid(result.shape[axis], fine_mm),
            float(np.hypot(scan.in_plane_sigma_mm, anti_alias)),
            0.0,
            scan.sharpening,
        )
        result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
    length = spacing_mm * shape_zyx[0]
    first = -length / 2 - rng.uniform(0, scan.slice_step_mm)
    slices_mm = np.arange(first, length / 2 + 2 * scan.slice_step_mm, scan.slice_step_mm)
    to_slices = profile_matrix(slices_mm, _grid(hu_fine.shape[0], fine_mm), 0.35, scan.slice_thickness_mm, 0.0)
    stack = np.tensordot(to_slices, result, axes=(1, 0))
    noise = rng.standard_normal(stack.shape, dtype=np.float32)
    sigma = scan.noise_correlation_mm / spacing_mm
    if sigma > 0.35:
        noise = ndimage.gaussian_filter(noise, (0, sigma, sigma), truncate=3)
        noise /= noise.std()
    stack += noise * np.float32(scan.noise_hu / (1 + 0.5 * spacing_mm))
    back = _interpolation_matrix(_grid(shape_zyx[0], spacing_mm), slices_mm)
    if spacing_mm > scan.slice_step_mm:  # fine slices are averaged, as the inference side does
        back = back @ np.eye(len(slices_mm), dtype=np.float32)
    return np.asarray(np.tensordot(back, stack, axes=(1, 0)) * scan.gain + scan.shift_hu, np.float32)
