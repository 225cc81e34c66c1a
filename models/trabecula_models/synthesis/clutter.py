"""Things scenes do not hold: texture, vessels' calcium, bowel gas and contrast, lesions, cement, gas in discs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.synthesis.intensity import Tables
from trabecula_models.synthesis.tissues import SEGMENTATION_CLASS, Tissue

BANK = 288


@lru_cache(maxsize=4)
def _noise_bank(sigma_voxels: float) -> NDArray[np.float32]:
    """Return a periodic cube of unit-variance noise; patches take random crops of it."""
    white = np.random.default_rng(7).standard_normal((BANK // 2,) * 3).astype(np.float32)
    smooth = ndimage.gaussian_filter(white, sigma_voxels / 2, mode="wrap")
    smooth = ndimage.zoom(smooth, 2, order=1, mode="grid-wrap", grid_mode=True).astype(np.float32)
    return np.asarray(smooth / smooth.std())


def _crop_of_bank(rng: np.random.Generator, sigma_voxels: float, shape: tuple[int, ...]) -> NDArray[np.float32]:
    bank = _noise_bank(sigma_voxels)
    starts = [int(rng.integers(0, BANK - n + 1 if n <= BANK else BANK)) for n in shape]
    if max(shape) <= BANK:
        crop = bank[tuple(slice(s, s + n) for s, n in zip(starts, shape, strict=True))]
    else:  # the bank is periodic
        crop = bank[np.ix_(*[(s + np.arange(n)) % BANK for s, n in zip(starts, shape, strict=True)])]
    return crop[:: rng.choice([-1, 1]), :: rng.choice([-1, 1]), :: rng.choice([-1, 1])]


def add_texture(hu: NDArray[np.float32], tissue: NDArray[np.uint8], tables: Tables, rng: np.random.Generator) -> None:
    """Add blotches with each tissue's own standard deviation, at two scales."""
    blotch = _crop_of_bank(rng, 6.0, hu.shape) * np.float32(0.8) + _crop_of_bank(rng, 2.0, hu.shape) * np.float32(0.6)
    hu += blotch * tables.texture_hu.take(tissue)


def add_paraspinal_fat(
    hu: NDArray[np.float32], tissue: NDArray[np.uint8], centre_mm: NDArray[np.float32], tables: Tables, rng: np.random.Generator
) -> None:
    """Break the muscle around the bodies up into strands of fat and muscle (crura, vessels' fat).

    Scenes fill what the torso's own spine left free with muscle; without this, crura beside a body were called body.
    """
    if rng.random() < 0.3:
        return
    share = rng.uniform(-0.9, 0.6)
    strands = _crop_of_bank(rng, 6.0, hu.shape) + 0.4 * _crop_of_bank(rng, 2.0, hu.shape) > share
    fat = strands & (centre_mm < rng.uniform(28, 50)) & ((tissue == Tissue.MUSCLE) | (tissue == Tissue.GLAND))
    hu[fat] = tables.interior_hu[Tissue.FAT, 0]


def _ellipsoid(
    centre: NDArray[np.int64], radii: NDArray[np.float64], shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[tuple[slice, ...], NDArray[np.bool_]]:
    reach = int(np.ceil(radii.max()))
    box = tuple(slice(max(int(c) - reach, 0), min(int(c) + reach + 1, n)) for c, n in zip(centre, shape, strict=True))
    grid = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) - c for s, c in zip(box, centre, strict=True)], indexing="ij"))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    local = np.tensordot(turn, grid, 1) / radii[:, None, None, None]
    return box, (local**2).sum(0) <= 1


def add_clutter(hu: NDArray[np.float32], tissue: NDArray[np.uint8], voxel_mm: float, rng: np.random.Generator, blobs: float = 7.0) -> None:
    """Write blobs into soft tissue (never onto a labelled class) and a few lesions into bone (labels stay).

    `blobs` is their mean number: 7 suit a patch of 13 cm.
    """
    labelled = SEGMENTATION_CLASS.take(tissue) > 0
    free = ~labelled & (tissue != Tissue.AIR) & (tissue != Tissue.TABLE)

    def place(allowed: NDArray[np.bool_], radius_mm: tuple[float, float], value: float, flat: float = 0.35) -> None:
        for _ in range(8):
            centre = rng.integers(0, hu.shape)
            if allowed[tuple(centre)]:
                radii = np.exp(rng.uniform(*np.log(radius_mm))) * rng.uniform(flat, 1.0, 3) / voxel_mm
                box, inside = _ellipsoid(centre, np.maximum(radii, 0.6), hu.shape, rng)
                hu[box][inside & allowed[box]] = value
                return

    for _ in range(rng.poisson(blobs)):
        kind = rng.choice(5, p=[0.2, 0.3, 0.2, 0.15, 0.15])
        value = (rng.uniform(-1000, -700), rng.uniform(120, 750), rng.uniform(-10, 130), rng.uniform(-120, -60), rng.uniform(300, 1300))[
            kind
        ]
        place(free, (1.0, 4.0) if kind == 4 else (3.0, 26.0), float(value))
    if rng.random() < 0.35:
        vessel = tissue == Tissue.AORTA
        for _ in range(rng.integers(1, 12)):
            place(vessel, (1.0, 4.0), float(rng.uniform(300, 1300)), 0.2)
    if rng.random() < 0.25:
        bone = (tissue == Tissue.BODY) | (tissue == Tissue.POSTERIOR)
        for _ in range(rng.integers(1, 5)):
            place(bone, (2.0, 9.0), float(rng.choice([rng.uniform(300, 900), rng.uniform(-60, 60)])))
    if rng.random() < 0.12:
        disc = tissue == Tissue.DISC
        for _ in range(rng.integers(1, 4)):
            place(disc, (3.0, 15.0), float(rng.uniform(-800, -100)), 0.15)
    if rng.random() < 0.04:
        place(tissue == Tissue.BODY, (4.0, 12.0), float(rng.uniform(900, 2800)))  # cement or screw
