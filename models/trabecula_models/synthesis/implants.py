"""Screws, rods, cages and cement, and the streaks that metal throws over a slice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.transform import iradon, radon

from trabecula_models.synthesis.assembly import frame_axes
from trabecula_models.synthesis.body_split import BodyFrame

METAL_HU, STREAK_FROM_HU = 3071.0, 2000.0
STREAK_GRID_MM, STREAK_SLICE_MM, STREAK_FIELD_MM = 2.5, 4, 300
"""Streaks are computed on this grid, in every fourth millimetre, over the middle of the field."""

LEAST_METAL_MM2, METAL_BLUR_MM = 12.0, 3.0
"""A slice with less metal throws none; metal is blurred before it is taken to the coarser grid."""

STREAK_HU = (100.0, 400.0)
"""Height of the streaks (99.5th percentile outside of the metal), from faint to ones that hide bone: a choice."""


class Implant(Enum):
    """What a patient carries."""

    NONE = "none"
    SCREWS = "screws"
    CAGE = "cage"
    CEMENT = "cement"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Capsule:
    """A round-ended rod of one material in scene coordinates (z, y, x), mm."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    radius_mm: float
    hu: float


def _placed(frame: BodyFrame, along: float, behind: float, across: float) -> NDArray[np.float64]:
    """Point of a vertebra's frame; along, behind and across in shares of its half height, depth and width."""
    half = np.array([frame.half_height_mm, frame.half_depth_mm, frame.half_width_mm]) / 0.88
    return np.asarray(frame.centre + (half * [along, behind, across]) @ frame_axes(frame))


def _screws(frames: list[BodyFrame], rng: np.random.Generator) -> list[Capsule]:
    parts, radius = [], float(rng.uniform(2.4, 3.4))
    for side in (-1, 1):
        heads = []
        for frame in frames:
            head = _placed(frame, 0.5, 2.6, side * 0.75)
            parts.append(Capsule(start=head, end=_placed(frame, 0.15, -0.5, side * 0.35), radius_mm=radius, hu=METAL_HU))
            parts.append(Capsule(start=head, end=head + np.array([0.0, 5.0, 0.0]), radius_mm=6.0, hu=METAL_HU))
            heads.append(head + np.array([0.0, 4.0, 0.0]))
        parts += [Capsule(start=a, end=b, radius_mm=2.75, hu=METAL_HU) for a, b in pairwise(heads)]
    return parts


def _cage(upper: BodyFrame, lower: BodyFrame, rng: np.random.Generator) -> list[Capsule]:
    middle = (_placed(upper, -1.0, 0.0, 0.0) + _placed(lower, 1.0, 0.0, 0.0)) / 2
    _, back, left = frame_axes(upper)
    hu = float(rng.choice([METAL_HU, 250.0]))  # titanium, or PEEK with its bone filling
    return [
        Capsule(start=middle + side * 8 * left - 8 * back, end=middle + side * 8 * left + 6 * back, radius_mm=4.0, hu=hu)
        for side in (-1, 1)
    ]


def _cement(frame: BodyFrame, rng: np.random.Generator) -> list[Capsule]:
    parts = []
    for _ in range(int(rng.integers(2, 6))):
        start, end = (_placed(frame, *rng.uniform([-0.5, -0.6, -0.55], [0.5, 0.4, 0.55])) for _ in range(2))
        parts.append(Capsule(start=start, end=end, radius_mm=float(rng.uniform(2.5, 5.5)), hu=float(rng.uniform(900, 2400))))
    return parts


def draw_implants(rng: np.random.Generator, frames: tuple[BodyFrame, ...], kind: Implant) -> tuple[Capsule, ...]:
    """Draw implants of one kind: screws in two to four neighbours from T11 down, a cage in one lumbar disc, or cement in one to three."""
    ordered = [frame for frame in sorted(frames, key=lambda one: -float(one.centre[0])) if frame.level >= 18]
    if kind is Implant.NONE or len(ordered) < 2:
        return ()
    if kind is Implant.CEMENT:
        chosen = rng.choice(len(ordered), size=min(int(rng.integers(1, 4)), len(ordered)), replace=False)
        return tuple(part for index in chosen for part in _cement(ordered[int(index)], rng))
    count = min(int(rng.integers(2, 5)), len(ordered))
    first = int(rng.integers(0, len(ordered) - count + 1))
    chosen_frames = ordered[first : first + count]
    if kind is Implant.SCREWS:
        return tuple(_screws(chosen_frames, rng))
    return tuple(_cage(chosen_frames[0], chosen_frames[1], rng))


def paint_implants(parts: tuple[Capsule, ...], points: NDArray[np.float32], hu: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Write implants into flat voxels with scene coordinates (3, n); return where they are."""
    foreign = np.zeros(hu.shape, bool)
    for part in parts:
        low = np.minimum(part.start, part.end) - part.radius_mm
        high = np.maximum(part.start, part.end) + part.radius_mm
        inside = np.ones(hu.shape, bool)
        for axis in range(3):
            inside &= (points[axis] >= low[axis]) & (points[axis] <= high[axis])
        near = np.flatnonzero(inside)
        if near.size == 0:
            continue
        line = part.end - part.start
        away = points[:, near].T - part.start
        share = np.clip((away @ line) / max(float(line @ line), 1e-6), 0, 1)
        hit = near[((away - share[:, None] * line) ** 2).sum(1) <= part.radius_mm**2]
        hu[hit] = part.hu
        foreign[hit] = True
    return foreign


def _streaks_of_slice(metal: NDArray[np.float32], strength_hu: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Streaks of one slice from the metal's path lengths: too little is seen behind long paths, and it is noisy (photon starvation)."""
    angles = np.linspace(0, 180, 90, endpoint=False)
    path_mm = radon(metal, theta=angles, circle=False) * STREAK_GRID_MM
    error = -(path_mm**2) / (path_mm + 10) + 0.5 * rng.standard_normal(path_mm.shape) * path_mm
    image = iradon(error, theta=angles, circle=False, output_size=metal.shape[0])
    outside = np.abs(image[metal < 0.5])
    scale = float(np.percentile(outside, 99.5)) if outside.size else 1.0
    return np.asarray(image * (strength_hu / max(scale, 1e-6)), np.float32)


def add_streaks(hu_zyx: NDArray[np.float32], strength_hu: float, rng: np.random.Generator, voxel_mm: float = 1.0) -> None:
    """Add metal's streaks to ideal HU (in place); slices without metal stay as they are."""
    metal = hu_zyx >= STREAK_FROM_HU
    rows = np.flatnonzero(metal.sum((1, 2)) * voxel_mm**2 > LEAST_METAL_MM2)
    if not len(rows):
        return
    step = STREAK_GRID_MM / voxel_mm
    count = round(STREAK_FIELD_MM / STREAK_GRID_MM)
    middle = [n / 2 for n in hu_zyx.shape[1:]]
    y, x = (np.rint(m + (np.arange(count) - count / 2) * step).astype(int) for m in middle)
    ok_y, ok_x = (y >= 0) & (y < hu_zyx.shape[1]), (x >= 0) & (x < hu_zyx.shape[2])
    last: tuple[int, NDArray[np.float32]] | None = None
    for z in rows:
        if last is None or (z - last[0]) * voxel_mm >= STREAK_SLICE_MM:
            coarse = np.zeros((count, count), np.float32)
            blurred = ndimage.uniform_filter(metal[z].astype(np.float32), round(METAL_BLUR_MM / voxel_mm))
            coarse[np.ix_(ok_y, ok_x)] = blurred[np.ix_(y[ok_y], x[ok_x])]
            last = (int(z), _streaks_of_slice(coarse, strength_hu, rng))
        offset = [(count / 2 - m / step) for m in middle]
        field = ndimage.affine_transform(last[1], np.full(2, 1 / step), offset, output_shape=hu_zyx.shape[1:], order=1, mode="constant")
        hu_zyx[z] += np.where(metal[z] | (hu_zyx[z] < -900), 0, field)
