"""Builds a column out of single vertebrae of one or several spines, hung along a curve.

Each vertebra moves as a rigid body (with a size factor). Levels can so be added, left out and renamed (L6, T13, four lumbar
vertebrae), spines that end at L1 can be continued upwards, and every real curve of the VID tables can be given to any spine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.synthesis.body_split import BodyFrame
from trabecula_models.synthesis.spine_curves import SpineCurve
from trabecula_models.synthesis.spines import Spine

DEFAULT_STEP_MM = 34.0
MARGIN_MM = 14
Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One vertebra of a column to be: where its shape comes from, the VerSe id it gets, and its size against the source."""

    spine: Spine
    source_level: int
    level: int
    scale: float = 1.0

    @property
    def frame(self) -> BodyFrame:
        """Frame in the source volume."""
        return self.spine.frames[self.source_level]


def frame_axes(frame: BodyFrame) -> Points:
    """Rows up, back and left of a frame, orthonormal, in (z, y, x)."""
    back = frame.back - (frame.back @ frame.up) * frame.up
    back = back / np.linalg.norm(back)
    return np.stack([frame.up, back, np.cross(frame.up, back)])


def _relation(upper: Piece, lower: Piece) -> tuple[Points, Points]:
    """Rotation and step (mm) from one vertebra to the next one below, in the upper one's axes, as the sources have them."""
    candidates = (
        (upper.spine, upper.source_level, upper.source_level + 1),
        (lower.spine, lower.source_level - 1, lower.source_level),
    )
    for spine, above, below in candidates:
        if above in spine.frames and below in spine.frames:
            axes = frame_axes(spine.frames[above])
            rotation = frame_axes(spine.frames[below]) @ axes.T
            return rotation, axes @ (spine.frames[below].centre - spine.frames[above].centre) * (upper.scale + lower.scale) / 2
    return np.eye(3), np.array([-DEFAULT_STEP_MM, 0.0, 0.0]) * (upper.scale + lower.scale) / 2


def _chain(pieces: list[Piece]) -> tuple[Points, Points]:
    """Centres (n, 3) and axes (n, 3, 3) as the sources hang together, cranial to caudal."""
    centres, axes = [np.zeros(3)], [frame_axes(pieces[0].frame)]
    for upper, lower in pairwise(pieces):
        rotation, step = _relation(upper, lower)
        centres.append(centres[-1] + axes[-1].T @ step)
        axes.append(rotation @ axes[-1])
    return np.array(centres), np.array(axes)


def _turn(sagittal: float, coronal: float, axial: float) -> Points:
    """Rotation in (z, y, x): tilts the column's axis back, to the left, and turns about it."""
    cs, ss, cc, sc, ca, sa = (f(a) for a in (sagittal, coronal, axial) for f in (np.cos, np.sin))
    back = np.array([[cs, -ss, 0], [ss, cs, 0], [0, 0, 1]])
    left = np.array([[cc, 0, -sc], [0, 1, 0], [sc, 0, cc]])
    about = np.array([[1, 0, 0], [0, ca, sa], [0, -sa, ca]])
    return np.asarray(back @ left @ about)


def _along_curve(pieces: list[Piece], centres: Points, axes: Points, curve: SpineCurve) -> tuple[Points, Points]:
    """The chain bent so that its line follows the curve; each body keeps its own tilt against the line."""
    lengths = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    up = -np.gradient(centres, axis=0)
    own = np.arctan2(up[:, 1:], up[:, :1])
    wanted = curve.angles_rad(column_ranks([piece.level for piece in pieces]))
    turned = np.array([a @ _turn(w[0] - o[0], w[1] - o[1], w[2]).T for a, w, o in zip(axes, wanted, own, strict=True)])
    between = np.tan((wanted[1:, :2] + wanted[:-1, :2]) / 2)
    down = -np.column_stack([np.ones(len(between)), between])
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    return np.concatenate([np.zeros((1, 3)), np.cumsum(down * lengths[:, None], axis=0)]), turned


def column_ranks(levels: list[int]) -> Points:
    """Place of each level in a usual column (T1 = 8, L1 = 20, L5 = 24): T13 lies between, four or six lumbar ones share L1-L5.

    `levels` are VerSe ids, cranial to caudal; lumbar ones are spread only where the list begins above L1.
    """
    lumbar = [level for level in levels if 20 <= level <= 25]
    whole = bool(lumbar) and lumbar[0] == 20 and len(levels) > len(lumbar)
    count = len(lumbar) if whole and len(lumbar) in (4, 6) else 5
    return np.array([19.5 if level == 28 else 20 + (level - 20) * 4 / (count - 1) if 20 <= level <= 25 else level for level in levels])


def _moved(
    mask: NDArray[np.bool_], piece: Piece, centre: Points, axes: Points, shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
    """A mask of the source, moved: the box it lies in and its soft indicator there."""
    source_box = tuple(slice(max(s.start - 3, 0), s.stop + 3) for s in ndimage.find_objects(mask.astype(np.uint8))[0])
    soft = ndimage.gaussian_filter(np.pad(mask[source_box], 2).astype(np.float32), 0.6)
    start = np.array([s.start - 2 for s in source_box], float)
    turn = frame_axes(piece.frame).T @ axes  # from target to source
    corners = np.array(np.meshgrid(*[(0.0, float(n)) for n in soft.shape], indexing="ij")).reshape(3, -1).T + start
    placed = centre + piece.scale * (corners - piece.frame.centre) @ turn
    low = np.maximum(np.floor(placed.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(placed.max(0)).astype(int) + 1, shape)
    matrix = turn / piece.scale
    offset = piece.frame.centre - start + matrix @ (low - centre)
    moved = ndimage.affine_transform(soft, matrix, offset, output_shape=tuple(high - low), order=1)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)), moved


def assemble(pieces: list[Piece], curve: SpineCurve | None = None) -> Spine:
    """Return the column of the pieces, given cranial to caudal; without a curve it keeps the sources' own shape."""
    centres, axes = _chain(pieces)
    if curve is not None:
        centres, axes = _along_curve(pieces, centres, axes, curve)
    reach = np.array([45.0, 85.0, 65.0])
    low = (centres - reach).min(0)
    centres = centres - low + MARGIN_MM
    shape = tuple(int(v) for v in np.ceil((centres + reach).max(0)) + MARGIN_MM)
    levels, body = np.zeros(shape, np.uint8), np.zeros(shape, bool)
    strongest = np.full(shape, 0.5, np.float16)
    frames = {}
    for piece, centre, own in zip(pieces, centres, axes, strict=True):
        whole = piece.spine.levels_zyx == piece.source_level
        box, soft = _moved(whole, piece, centre, own, shape)
        wins = soft > strongest[box]
        strongest[box][wins] = soft[wins]
        levels[box][wins] = piece.level
        body_box, soft_body = _moved(whole & piece.spine.body_zyx, piece, centre, own, shape)
        body[body_box] |= soft_body > 0.5
        source = piece.frame
        frames[piece.level] = replace(
            source,
            level=piece.level,
            centre=centre,
            up=own[0],
            back=own[1],
            half_height_mm=source.half_height_mm * piece.scale,
            half_depth_mm=source.half_depth_mm * piece.scale,
            half_width_mm=source.half_width_mm * piece.scale,
        )
    return Spine(levels_zyx=levels, body_zyx=body & (levels > 0), frames=frames)
