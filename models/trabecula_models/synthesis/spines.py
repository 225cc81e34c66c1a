"""The spines that scenes are built around: whole vertebrae, bodies, and sacrum + pelvis where the source has them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.synthesis.body_split import BodyFrame, split_vertebrae
from trabecula_models.synthesis.sources import read_labels
from trabecula_models.synthesis.torso import spl_spine_levels

C3, C7, SACRUM, PELVIS, KNOWN_DISC = 3, 7, 26, 27, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Spine:
    """A 1 mm level volume (VerSe ids; 26 sacrum, 27 pelvis, 100 disc) with body mask and frames by level."""

    levels_zyx: NDArray[np.uint8]
    body_zyx: NDArray[np.bool_]
    frames: dict[int, BodyFrame]


def load_spine(name: str, *, for_testing: bool = False, without: tuple[int, ...] = (), highest: int = C7) -> Spine:
    """Load one spine of `anatomy/spines` by name, or `spl` for the atlas' own column.

    `without` names levels cut in the source; `highest` is the first level that is kept (C3 with the neck: C1 and C2 have no such body).
    """
    known: NDArray[np.bool_] | None = None
    if name == "spl":
        levels = np.pad(spl_spine_levels(), ((20, 20), (20, 20), (20, 20)))
    elif name == "malekosh001":
        levels = read_labels("spines", "malekosh001_vert").labels_zyx
        known = np.isin(read_labels("spines", "malekosh001_subreg").labels_zyx, (49, 50)) & (levels > 0)
    elif name == "remus_vhm":
        levels = read_labels("spines", "remus_vhm_L1_S1_pelvis").labels_zyx
        inner = read_labels("spines", "remus_vhm_bodyplus50").labels_zyx
        grown = ndimage.binary_dilation((inner >= 70) & (inner <= 74), iterations=1)
        known = grown & (levels >= 20) & (levels <= 24)  # surfaces are shrunken by about 1 mm (anatomy/README.md)
    else:
        levels = read_labels("spines", name, for_testing=for_testing).labels_zyx
    levels = np.where(np.isin(levels, without), 0, levels).astype(np.uint8)
    vertebrae = np.where((levels >= highest) & (levels <= 25), levels, 0).astype(np.uint8)
    body, frames = split_vertebrae(vertebrae, known)
    keep = {frame.level for frame in frames} | {SACRUM, PELVIS, KNOWN_DISC}
    clean = np.where(np.isin(levels, list(keep)), levels, 0).astype(np.uint8)
    return Spine(levels_zyx=clean, body_zyx=body, frames={frame.level: frame for frame in frames})


def _axes(frames: dict[int, BodyFrame]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return (origin, 3 x 3 axes, length) of the lowest two bodies (usually L4 and L5): origin the lowest, up to the next."""
    lower, upper = sorted(frames.values(), key=lambda frame: float(frame.centre[0]))[:2]
    up = upper.centre - lower.centre
    length = float(np.linalg.norm(up))
    up = up / length
    back = lower.back + upper.back
    back[2] *= 0.3
    back = back - (back @ up) * up
    back = back / np.linalg.norm(back)
    return lower.centre, np.stack([up, back, np.cross(up, back)]), length


def add_sacrum_and_pelvis(spine: Spine, donor: Spine, lift_mm: float = 0.0) -> Spine:
    """Set the donor's sacrum and hip bones below the last body by matching the two lowest frames (rotation, shift, scale).

    `lift_mm` moves them up the last body's axis: the disc of a sacralised L5 is narrow.
    """
    origin, axes, length = _axes(spine.frames)
    origin = origin + lift_mm * axes[0]
    donor_origin, donor_axes, donor_length = _axes(donor.frames)
    scale = float(np.clip(length / donor_length, 0.8, 1.2))
    corners = np.argwhere(np.isin(donor.levels_zyx, (SACRUM, PELVIS)))[::50]
    placed = origin + scale * (corners - donor_origin) @ donor_axes.T @ axes
    low = np.minimum(np.floor(placed.min(0)).astype(int) - 2, 0)
    high = np.maximum(np.ceil(placed.max(0)).astype(int) + 3, spine.levels_zyx.shape)
    pad = [(-int(lo), int(hi - n)) for lo, hi, n in zip(low, high, spine.levels_zyx.shape, strict=True)]
    levels, body = np.pad(spine.levels_zyx, pad), np.pad(spine.body_zyx, pad)
    shift = -low.astype(float)
    # point = origin + s R (donor_point - donor_origin), R = axes^T donor_axes; affine_transform wants the inverse.
    rotation = axes.T @ donor_axes
    inverse = rotation.T / scale
    offset = donor_origin - inverse @ (origin + shift)
    top = int(np.ceil(min((placed + shift)[:, 0].max() + 4, levels.shape[0])))
    for code in (PELVIS, SACRUM):
        soft = ndimage.gaussian_filter((donor.levels_zyx == code).astype(np.float32), 0.6)
        moved = ndimage.affine_transform(soft, inverse, offset, output_shape=(top, *levels.shape[1:]), order=1) > 0.5
        levels[:top][moved & (levels[:top] == 0)] = code
    frames = {level: replace(frame, centre=frame.centre + shift) for level, frame in spine.frames.items()}
    return Spine(levels_zyx=levels, body_zyx=body, frames=frames)
