"""Third look: a small network at full resolution moves each body's outline to the bone's edge.

The fine network works at 1.5 mm and its first step halves that, so its outlines are right to about a voxel. Around every body it found,
this one sees the CT at 1 mm together with what the fine network said, and decides voxel by voxel what belongs to that body.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.bodies import Box
from trabecula_models.bundle import Bundle
from trabecula_models.forward import Compute, build_forward
from trabecula_morphometry.volume import Grid, Volume

VIEW_CHANNELS = 5
"""HU over the range of all tissues, HU over that of soft and trabecular bone, margin of body, this body or another, posterior elements."""

ROOM_VOXELS = 6
"""Around the fine network's outline: it is never farther off than this where it found the body at all."""

VIEW_MULTIPLE = 4
"""Edges of a view are multiples of this, as the network's two poolings ask."""

LEAST_KEPT_SHARE = 0.5
"""A new outline that gives up more of the old one than this is no correction of an edge, and is not taken.
Unverified: a plain half."""

WIDE_HU, NARROW_HU = (-200.0, 1000.0), (-150.0, 450.0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FineMaps:
    """What the fine network said, on the lattice of the masks, axes [z, y, x].

    Parameters
    ----------
    margin : by how much body is ahead of the other classes, -1 to 1, -1 far from every body.
    instance : the nearest body, 1, 2, ... cranial to caudal; 0 far from all.
    posterior : probability of posterior elements.
    grid : the LPS-parallel lattice of the three.
    """

    margin: NDArray[np.float32]
    instance: NDArray[np.int16]
    posterior: NDArray[np.float32]
    grid: Grid

    def outlined(self, inside_margin: float) -> NDArray[np.int16]:
        """The fine network's outlines: 1, 2, ... where body is this much ahead, 0 elsewhere."""
        return np.where(self.margin > inside_margin, self.instance, np.int16(0))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BodyView:
    """One body with its surroundings as the network sees it.

    Parameters
    ----------
    instance : which body.
    first_zyx : voxel of the maps' lattice that the view begins at; it may lie outside the maps.
    channels : (5, z, y, x), see `VIEW_CHANNELS`.
    """

    instance: int
    first_zyx: tuple[int, int, int]
    channels: NDArray[np.float32]


class BodyRefiner:
    """The network with its weights, kept in memory between studies.

    Parameters
    ----------
    bundle : weights and their metadata.
    compute : device, engine and precision.
    """

    def __init__(self, bundle: Bundle, compute: Compute | None = None) -> None:
        self.bundle = bundle
        self._forward = build_forward(bundle, compute or Compute())

    def outline(self, volume: Volume, maps: FineMaps, before: NDArray[np.int16]) -> NDArray[np.int16]:
        """The body that each voxel of the maps' lattice belongs to, 1, 2, ... cranial to caudal; 0 outside all.

        ``before`` are the fine network's outlines.
        """
        outlined = np.zeros_like(before)
        ahead = np.zeros(maps.grid.shape_zyx, dtype=np.float32)
        for view in body_views(volume, maps, before):
            logits = self._both_ways(view.channels)
            inside = largest_part(logits > 0)
            low = np.maximum(view.first_zyx, 0)
            high = np.minimum(np.array(view.first_zyx) + logits.shape, maps.grid.shape_zyx)
            here = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
            there = tuple(slice(int(a), int(b)) for a, b in zip(low - view.first_zyx, high - view.first_zyx, strict=True))
            mine = inside[there] & (logits[there] > ahead[here])
            outlined[here][mine] = view.instance
            ahead[here][mine] = logits[there][mine]
        return _with_all_bodies(outlined, before)

    def _both_ways(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean of the logits of a view and of its mirror image: what hangs on the side it is seen from cancels out."""
        mirrored = self._forward(np.ascontiguousarray(channels[..., ::-1]))[0][..., ::-1]
        mean: NDArray[np.float32] = (self._forward(channels)[0] + mirrored) * np.float32(0.5)
        return mean


def _with_all_bodies(outlined: NDArray[np.int16], before: NDArray[np.int16]) -> NDArray[np.int16]:
    """The new outlines, but the old one of each body that would lose most of it: no found body may vanish here."""
    count = int(before.max(initial=0)) + 1
    sizes = np.bincount(before.ravel(), minlength=count)
    kept = np.bincount(before[outlined == before], minlength=count)
    for instance in np.flatnonzero(kept < LEAST_KEPT_SHARE * sizes):
        if instance > 0:
            outlined[outlined == instance] = 0
            outlined[before == instance] = instance
    return outlined


def largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected part of a mask, without holes."""
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(parts == sizes.argmax())
    return filled


def body_views(volume: Volume, maps: FineMaps, outlined: NDArray[np.int16]) -> Iterator[BodyView]:
    """A view of every body, cranial to caudal; ``outlined`` are the fine network's outlines on the maps' lattice."""
    for instance, box in enumerate(ndimage.find_objects(outlined), start=1):
        if box is not None:
            yield _view(volume, maps, instance, box)


def _view(volume: Volume, maps: FineMaps, instance: int, box: Box) -> BodyView:
    first = np.array([part.start - ROOM_VOXELS for part in box])
    needed = np.array([part.stop + ROOM_VOXELS for part in box]) - first
    size = -(-needed // VIEW_MULTIPLE) * VIEW_MULTIPLE
    first -= (size - needed) // 2
    matrix = maps.grid.voxel_to_lps.copy()
    matrix[:3, 3] = maps.grid.to_lps(first[::-1])
    nz, ny, nx = (int(n) for n in size)
    hu = volume.resample(Grid(shape_zyx=(nz, ny, nx), voxel_to_lps=matrix)).hu_zyx
    nearest = _window(maps.instance, first, size, 0)
    return BodyView(
        instance=instance,
        first_zyx=(int(first[0]), int(first[1]), int(first[2])),
        channels=np.stack(
            [
                scale_to_range(hu, WIDE_HU),
                scale_to_range(hu, NARROW_HU),
                _window(maps.margin, first, size, -1.0),
                np.where(nearest == instance, np.float32(1), np.where(nearest > 0, np.float32(-1), np.float32(0))),
                _window(maps.posterior, first, size, 0.0),
            ]
        ).astype(np.float32, copy=False),
    )


def scale_to_range(hu: NDArray[np.float32], limits_hu: tuple[float, float]) -> NDArray[np.float32]:
    """HU clipped to a range and scaled to -1..1."""
    low, high = limits_hu
    scaled: NDArray[np.float32] = ((np.clip(hu, low, high) - low) * np.float32(2 / (high - low)) - 1).astype(np.float32)
    return scaled


def _window(field: NDArray[Any], first: NDArray[np.int_], size: NDArray[np.int_], beyond: float) -> NDArray[Any]:
    """A part of a field that may reach beyond it."""
    out = np.full(tuple(size), beyond, dtype=field.dtype)
    low, high = np.maximum(first, 0), np.minimum(first + size, field.shape)
    if (high > low).all():
        source = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        target = tuple(slice(int(a), int(b)) for a, b in zip(low - first, high - first, strict=True))
        out[target] = field[source]
    return out
