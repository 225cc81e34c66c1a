"""Columns with another number of vertebrae, a last lumbar one joined to the sacrum, or short twelfth ribs.

How often each occurs and how it is named: clinical-facts section 4 and `models/trabecula_models/naming.py`.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from trabecula_models.synthesis.assembly import Piece, frame_axes
from trabecula_models.synthesis.spines import SACRUM, Spine

C7, T1, T12, L1, L3, L4, L5, L6, T13 = 7, 8, 19, 20, 22, 23, 24, 25, 28
SHRINK_PER_LEVEL = 0.965
"""Upwards each thoracic body is about this much smaller than the one below (digital_patient.column: 0.965 from T12 to T7)."""


class Variant(Enum):
    """What differs from 12 thoracic and 5 lumbar vertebrae with whole ribs."""

    USUAL = "usual"
    L6 = "L6"
    T13 = "T13"
    FOUR_LUMBAR = "four_lumbar"
    SACRALISED_L5 = "sacralised_L5"
    SHORT_RIB = "short_rib"
    NO_RIB_12 = "no_rib_12"


def usual_pieces(spine: Spine, upper: Spine) -> list[Piece]:
    """T1-L5 of `spine`, and C7 where there is one; what it lacks above comes from `upper`, and above that T1 and below from smaller copies
    of its first two levels."""
    shared = [level for level in spine.frames if level in upper.frames]
    ratio = float(np.median([spine.frames[level].half_width_mm / upper.frames[level].half_width_mm for level in shared])) if shared else 1.0
    first, highest = min(spine.frames), min(upper.frames)
    pieces = []
    for level in range(C7, L5 + 1):
        if level in spine.frames:
            pieces.append(Piece(spine=spine, source_level=level, level=level))
        elif level < first and level in upper.frames:
            pieces.append(Piece(spine=upper, source_level=level, level=level, scale=ratio))
        elif T1 <= level < highest:
            scale = ratio * SHRINK_PER_LEVEL ** (highest - level)
            pieces.append(Piece(spine=upper, source_level=highest + (highest - level) % 2, level=level, scale=scale))
    return pieces


def vary(pieces: list[Piece], variant: Variant) -> list[Piece]:
    """The pieces of a variant: one vertebra more or less, renamed."""
    by_level = {piece.level: piece for piece in pieces}
    if variant is Variant.L6:
        fourth, last = by_level[L4], by_level[L5]
        added = replace(fourth, level=L5, scale=fourth.scale * 1.02)
        return [*(piece for piece in pieces if piece.level <= L4), added, replace(last, level=L6)]
    if variant is Variant.T13:
        twelfth = by_level[T12]
        added = replace(twelfth, level=T13, scale=twelfth.scale * 1.03)
        return [*(piece for piece in pieces if piece.level <= T12), added, *(piece for piece in pieces if piece.level > T12)]
    if variant is Variant.FOUR_LUMBAR:
        return [replace(piece, level=piece.level - (piece.level > L3)) for piece in pieces if piece.level != L3]
    return pieces


def rib_changes(variant: Variant, rng: np.random.Generator) -> dict[int, tuple[float, float]]:
    """Reach of the ribs that differ, right and left: rudimentary or absent 12th, short 13th."""
    if variant is Variant.SHORT_RIB:
        reach = float(rng.uniform(0.02, 0.07))
        return {T12: (reach, reach * float(rng.uniform(0.3, 1.0)))}
    if variant is Variant.NO_RIB_12:
        return {T12: (0.0, 0.0)}
    if variant is Variant.T13:
        right, left = (float(v) for v in rng.uniform(0.03, 0.22, 2))
        return {T13: (right, left)}
    return {}


def _capsule(levels: NDArray[np.uint8], start: NDArray[np.float64], end: NDArray[np.float64], radius_mm: float, code: int) -> None:
    """Fill the free voxels within a radius of a line with a code."""
    low = np.maximum(np.floor(np.minimum(start, end) - radius_mm).astype(int), 0)
    high = np.minimum(np.ceil(np.maximum(start, end) + radius_mm).astype(int) + 1, levels.shape)
    if (high <= low).any():
        return
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(*[np.arange(a, b, dtype=float) for a, b in zip(low, high, strict=True)], indexing="ij"), -1)
    line = end - start
    along = np.clip(((grid - start) @ line) / (line @ line), 0, 1)
    near = ((grid - start - along[..., None] * line) ** 2).sum(-1) <= radius_mm**2
    part = levels[box]
    part[near & (part == 0)] = code


def join_last_to_sacrum(spine: Spine, sides: tuple[int, ...] = (-1, 1)) -> Spine:
    """Widen the transverse processes of the last vertebra until they merge with the sacral wings (Castellvi II-III)."""
    if not (spine.levels_zyx == SACRUM).any():
        raise ValueError("there is no sacrum to join the last vertebra to")
    levels = spine.levels_zyx.copy()
    frame = min(spine.frames.values(), key=lambda one: float(one.centre[0]))
    up, back, left = frame_axes(frame)
    width, depth = frame.half_width_mm / 0.88, frame.half_depth_mm / 0.88
    for side in sides:
        root = frame.centre + side * left * (width + 3) + back * depth * 0.7
        wing = frame.centre + side * left * (width + 14) + back * depth * 0.8 - up * 26
        _capsule(levels, root, wing, 8.5, frame.level)
    return replace(spine, levels_zyx=levels)
