"""Masks brought from the grid they were outlined on to another one, as for the input's own slices.

Taking the nearest voxel moves every edge by up to half a voxel, and by the same half along a whole wall. What share of a point's
surroundings a label fills says more: its edge lies where that is one half.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_morphometry.interpolation import linear_weights
from trabecula_morphometry.volume import Grid, LabelVolume

SURROUNDINGS_MM = 0.5
"""SD of the Gaussian that the share is taken over: the steps of 1 mm voxels vanish, a lamina of two of them stays."""

_ROOM_VOXELS = 4
FULL, HALF = 250, 125
"""Shares of one and of a half in the byte arrays that shares are kept in."""


def resample_masks(masks: Sequence[LabelVolume], grid: Grid) -> tuple[LabelVolume, ...]:
    """Masks that share one grid, on another grid; on their own one as they are.

    A voxel belongs to the masks where all their labels together fill half of its surroundings, and to the label that fills most of it.
    Where two masks overlap, as metal and the arch it was screwed through do, both keep it.
    """
    source = masks[0].grid
    if source.shape_zyx == grid.shape_zyx and np.allclose(source.voxel_to_lps, grid.voxel_to_lps, rtol=0.0, atol=1e-6):
        return tuple(masks)
    out = [np.zeros(grid.shape_zyx, np.uint8) for _ in masks]
    parts = [_parts(mask, grid) for mask in masks]
    everywhere = [part.box for own in parts for part in own]
    if everywhere:
        box = tuple(slice(min(part[axis].start for part in everywhere), max(part[axis].stop for part in everywhere)) for axis in range(3))
        shape = tuple(side.stop - side.start for side in box)
        filled, largest = np.zeros(shape, np.uint16), np.zeros((len(masks), *shape), np.uint8)
        for own, labels, most in zip(parts, out, largest, strict=True):
            _add_shares(own, grid, box, filled, most, labels[box])
        owner = largest.argmax(axis=0)
        for number, (labels, most) in enumerate(zip(out, largest, strict=True)):
            labels[box][~((most > HALF) | ((owner == number) & (filled > HALF)))] = 0
    return tuple(LabelVolume(labels_zyx=labels, grid=grid) for labels in out)


def _add_shares(
    parts: "list[_Part]",
    grid: Grid,
    box: tuple[slice, ...],
    filled: NDArray[np.uint16],
    largest: NDArray[np.uint8],
    labels: NDArray[np.uint8],
) -> None:
    """Add the shares of one mask's labels to what is filled in a box, and note which of them has the largest share (in place)."""
    for part in parts:
        here = tuple(slice(own.start - side.start, own.stop - side.start) for own, side in zip(part.box, box, strict=True))
        share = part.share_on(grid)
        filled[here] += share
        most = share > largest[here]
        largest[here][most], labels[here][most] = share[most], part.label


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Part:
    """One label of a mask: its share (z, y, x) on its own grid, and the box of the target that it reaches."""

    label: int
    share: NDArray[np.float32]
    grid: Grid
    box: tuple[slice, slice, slice]

    def share_on(self, grid: Grid) -> NDArray[np.uint8]:
        """The share in the box, in bytes, linear between the voxels of its own grid."""
        target = grid.crop(self.box)
        swap = np.eye(4)[[2, 1, 0, 3]]
        step = swap @ np.linalg.inv(self.grid.voxel_to_lps) @ target.voxel_to_lps @ swap
        turn, offset = step[:3, :3], step[:3, 3]
        axes = np.abs(turn).argmax(axis=1)
        if np.count_nonzero(np.abs(turn) > 1e-6) == 3 and len(set(axes)) == 3:  # both grids lie along the same axes: one small matrix each
            share = self.share
            for axis in range(3):
                places = offset[axis] + turn[axis, axes[axis]] * np.arange(target.shape_zyx[axes[axis]])
                weights = linear_weights(places, share.shape[axis])
                weights[(places < -0.5) | (places > share.shape[axis] - 0.5)] = 0.0  # a mask does not go on beyond its grid
                share = np.moveaxis(np.tensordot(weights, share, axes=(1, axis)), 0, axis)
            share = np.moveaxis(share, (0, 1, 2), tuple(int(axis) for axis in axes))
        else:
            share = ndimage.affine_transform(self.share, turn, offset, output_shape=target.shape_zyx, order=1, mode="constant")
        return np.asarray(np.rint(share * FULL), np.uint8)


def _parts(mask: LabelVolume, grid: Grid) -> list[_Part]:
    parts = []
    sigma_zyx = SURROUNDINGS_MM / mask.grid.spacing_xyz_mm[::-1]
    for index, found in enumerate(ndimage.find_objects(mask.labels_zyx)):
        if found is None:
            continue
        around = tuple(slice(max(side.start - _ROOM_VOXELS, 0), side.stop + _ROOM_VOXELS) for side in found)
        own = mask.grid.crop(around)
        box = _reached(own, grid)
        if all(side.stop > side.start for side in box):
            inside = (mask.labels_zyx[around] == index + 1).astype(np.float32)
            share: NDArray[np.float32] = ndimage.gaussian_filter(inside, sigma_zyx, mode="nearest", truncate=3.0)
            parts.append(_Part(label=index + 1, share=share, grid=own, box=box))
    return parts


def _reached(own: Grid, grid: Grid) -> tuple[slice, slice, slice]:
    """The box of a grid's voxels whose centres may lie inside another grid."""
    corners = np.array(np.meshgrid(*[(-0.5, count - 0.5) for count in own.shape_zyx[::-1]])).reshape(3, -1).T
    voxels = grid.to_voxel(own.to_lps(corners))
    size = np.array(grid.shape_zyx[::-1])
    first = np.clip(np.floor(voxels.min(axis=0)).astype(int), 0, size)
    last = np.clip(np.ceil(voxels.max(axis=0)).astype(int) + 1, first, size)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    return z, y, x
