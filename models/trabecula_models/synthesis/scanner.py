"""From a patient's ideal HU at 1 mm to the series a scanner stores: slices, pixels, kernel, noise with the kernel's spectrum, field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from trabecula_models.synthesis.acquisition import AIR_HU, profile_matrix

PADDING_HU = -1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A reconstruction kernel: blur (SD, mm), edge enhancement, and where its noise is strongest (cycles per mm)."""

    name: str
    sigma_mm: float
    sharpening: float
    noise_peak_per_mm: float
    noise_factor: float


KERNELS: dict[str, Kernel] = {
    # Noise power of filtered back projection is ramp times window: soft kernels peak at 0.2-0.3 per mm, bone kernels at 0.6-0.8.
    "soft": Kernel(name="soft", sigma_mm=0.75, sharpening=0.0, noise_peak_per_mm=0.22, noise_factor=1.0),
    "standard": Kernel(name="standard", sigma_mm=0.55, sharpening=0.1, noise_peak_per_mm=0.28, noise_factor=1.25),
    "bone": Kernel(name="bone", sigma_mm=0.3, sharpening=0.6, noise_peak_per_mm=0.6, noise_factor=2.6),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPlan:
    """How one series is scanned and reconstructed; lengths in mm, field of view square and centred at (x, y) of the scanned box."""

    slice_thickness_mm: float
    slice_step_mm: float
    pixel_mm: float
    field_of_view_mm: float
    kernel: Kernel
    noise_hu: float
    circle: bool
    """Whether pixels outside the reconstruction circle are padded."""


def _centred(count: int, step_mm: float) -> NDArray[np.float64]:
    return np.asarray((np.arange(count) - (count - 1) / 2) * step_mm, np.float64)


def noise_tile(rng: np.random.Generator, count: int, pixel_mm: float, peak_per_mm: float, slices: int = 5) -> NDArray[np.float32]:
    """Periodic slices of unit-variance noise with the spectrum of a kernel, (slices, count, count)."""
    frequency = np.hypot(fft.fftfreq(count, pixel_mm)[:, None], fft.rfftfreq(count, pixel_mm)[None])
    shape = (frequency * np.exp(-0.5 * (frequency / peak_per_mm) ** 2)).astype(np.float32)
    tile = fft.irfft2(fft.rfft2(rng.standard_normal((slices, count, count), dtype=np.float32)) * shape, s=(count, count))
    return np.asarray(tile / tile.std(), np.float32)


def _add_noise(stack: NDArray[np.float32], scan: ScanPlan, rng: np.random.Generator) -> None:
    count = stack.shape[1]
    tile = noise_tile(rng, count, scan.pixel_mm, scan.kernel.noise_peak_per_mm)
    away = np.abs(_centred(count, scan.pixel_mm)) / 170.0
    # The middle of a body is seen through most tissue.
    seen_through = np.clip(1.1 - 0.5 * np.hypot(away[:, None], away[None]), 0.5, None)
    strength = (scan.noise_hu * scan.kernel.noise_factor * seen_through).astype(np.float32)
    previous: NDArray[np.float32] | None = None
    for index in range(len(stack)):
        one = np.roll(tile[int(rng.integers(len(tile)))], rng.integers(0, count, 2), (0, 1))
        # Neighbouring slices of a helical scan share rays.
        mixed = one if previous is None else np.float32(0.93) * one + np.float32(0.37) * previous
        previous = one
        stack[index] += strength * mixed


def reconstruct(ideal_zyx: NDArray[np.float32], scan: ScanPlan, rng: np.random.Generator) -> tuple[NDArray[np.int16], float]:
    """Return the series (z, y, x) of a box painted at 1 mm, and the height in mm of its first slice above the box' middle.

    The field of view may be larger than the box (the rest is air) or smaller (truncated); both share their middle.
    """
    half = ideal_zyx.shape[0] / 2 - scan.slice_step_mm / 2
    slices_mm = np.arange(-half + rng.uniform(0, 0.5) * scan.slice_step_mm, half, scan.slice_step_mm)
    weights = profile_matrix(slices_mm, _centred(ideal_zyx.shape[0], 1.0), 0.35, scan.slice_thickness_mm, 0.0)
    thin = np.tensordot(weights, ideal_zyx, axes=(1, 0))
    count = round(scan.field_of_view_mm / scan.pixel_mm)
    pixels = _centred(count, scan.pixel_mm)
    stack = np.full((len(slices_mm), count, count), AIR_HU, np.float32)
    seen = [np.abs(pixels) <= n / 2 - 1 for n in ideal_zyx.shape[1:]]
    rows, columns = (
        profile_matrix(pixels[ok], _centred(n, 1.0), scan.kernel.sigma_mm, 0.0, scan.kernel.sharpening)
        for ok, n in zip(seen, ideal_zyx.shape[1:], strict=True)
    )
    inner = np.ix_(seen[0], seen[1])
    for index in range(len(thin)):
        stack[index][inner] = rows @ thin[index] @ columns.T
    _add_noise(stack, scan, rng)
    hu = np.clip(np.rint(stack), -1024, 3071).astype(np.int16)
    if scan.circle:
        radius = np.hypot(pixels[:, None], pixels[None])
        hu[:, radius > scan.field_of_view_mm / 2] = PADDING_HU
    return hu, float(slices_mm[0])
