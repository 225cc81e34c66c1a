"""Third look: a small network at full resolution moves each body's outline to the bone's edge.

The fine network works at 1.5 mm and its first step halves that, so its outlines are right to about a voxel. Around every body it found,
this one sees the CT at 1 mm together with what the fine network said, and decides voxel by voxel what belongs to that body.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.bodies import Box, box_around
from trabecula_models.bundle import Bundle
from trabecula_models.forward import Compute, build_forward
from trabecula_morphometry.volume import Grid, Volume

VIEW_CHANNELS = 5
"""HU over the range of all tissues, HU over that of soft and trabecular bone, margin of body, this body or another, posterior elements."""

ROOM_VOXELS = 6
"""Around the fine network's outline: it is never farther off than this where it found the body at all."""

VIEW_MULTIPLE = 4
"""Edges of a view are multiples of this, as the network's two poolings ask."""

LEAST_KEPT_SHARE = 0.25
"""A new outline that keeps less of the old one than this has lost its body, and is not taken. What holds as much disc as body must be let
go: with a half, the outline of a crushed L1 stayed at a Dice of 0.59, with a quarter it comes to 0.88 (held-out case 96; chosen on it and
on 72)."""

SETTLED = 0.95
"""Dice of an outline before and after a look: 0.89 to 0.98 where bodies were healthy, 0.62 to 0.85 where they were crushed, cemented or
screwed (four held-out columns). With 0.95 instead of 0.9 eighteen of 28 columns of drawing 0 came nearer to the true bodies, one fell off
(ADR 0029)."""

MOST_LOOKS = 8
"""A body crushed to a third, of which the fine network had taken the disc below for the body, came from a Dice of 0.37 to 0.70 in four
looks and to 0.92 in eight; most have settled by then."""

OUTGROWN_RATIO = 1.15
"""An outline that a further look makes larger, beyond this many times what its neighbours have (median volume of the two above and the two
below), has left its body: it is taken back and followed no more. Of the whole bodies of seven spines all but three, at the end of a column
or next to crushed ones, stay below. Between screws in 5 mm slices outlines grew into the canal with every look, to twice their size; 1.25
let them grow too far (ADR 0029)."""

NEIGHBOURS_COMPARED = 2
"""On each side; fewer in view than this altogether tell nothing."""

NEAR_VOXELS = 3.0
"""As far around an outline a voxel counts as that body's: what two voxels of the fine network's lattice are."""

NO_BODY_LOGIT = -20.0
"""Where no look said anything: a probability of 2e-9, which is none."""

STRAND_DEPTH_SHARE, STRAND_LENGTH_VOXELS = 0.3, 2.5
"""Of 202 views that were not learnt from, outlines without strands have a Dice 0.0016 higher on average, at most 0.008 lower and 0.124
higher; chosen on these out of shares of 0.2 to 0.5 and lengths of 1.5 to 3.5, and better than balls of one size for all bodies."""

REACH_OF_VIEW = ROOM_VOXELS + VIEW_MULTIPLE + int(NEAR_VOXELS)
"""No view shows more than this around a body's box."""

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

        ``before`` are the fine network's outlines. Where they were far off, one look brings them only part of the way: bodies that still
        moved are looked at again, from where they are now, unless they outgrow their neighbours.
        """
        outlines = Outlines(maps, before)
        for _ in self.looks(volume, outlines):
            pass
        return outlines.instance

    def looks(self, volume: Volume, outlines: Outlines) -> Iterator[list[int]]:
        """Look until the outlines are settled; before each look, the bodies that it is about to be at."""
        astray = list(range(1, outlines.count + 1))
        for number in range(MOST_LOOKS):
            if number > 0:
                outlines.start_from_here(astray)
            yield astray
            self.look(volume, outlines, astray)
            if number > 0:
                outlines.take_back_outgrown()
            astray = outlines.moved()
            if not astray:
                return

    def look(self, volume: Volume, outlines: Outlines, instances: Iterable[int]) -> None:
        """Outline these bodies anew."""
        for instance in instances:
            view = outlines.view(volume, instance)
            if view is not None:
                outlines.draw(view, self._both_ways(view.channels))
        outlines.keep_all_bodies()

    def _both_ways(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean of the logits of a view and of its mirror image: what hangs on the side it is seen from cancels out."""
        mirrored = self._forward(np.ascontiguousarray(channels[..., ::-1]))[0][..., ::-1]
        mean: NDArray[np.float32] = (self._forward(channels)[0] + mirrored) * np.float32(0.5)
        return mean


class Outlines:
    """Outlines on their way from look to look.

    Parameters
    ----------
    maps : what is known before the first look.
    before : the fine network's outlines on the maps' lattice, 1, 2, ... cranial to caudal.
    """

    def __init__(self, maps: FineMaps, before: NDArray[np.int16]) -> None:
        self.instance = np.zeros_like(before)
        self.count = int(before.max(initial=0))
        self._maps = maps
        self._before = before
        self._boxes = ndimage.find_objects(before, max_label=self.count)
        self._logit = np.full(maps.grid.shape_zyx, NO_BODY_LOGIT, dtype=np.float32)

    def view(self, volume: Volume, instance: int) -> BodyView | None:
        """One body as it was before this look, with its surroundings; None where nothing was found of it."""
        box = self._boxes[instance - 1]
        return None if box is None else _view(volume, self._maps, instance, box)

    def draw(self, view: BodyView, logits: NDArray[np.float32]) -> None:
        """Give a body the largest part of what the network says is its own, where no other one is likelier."""
        low = np.maximum(view.first_zyx, 0)
        high = np.minimum(np.array(view.first_zyx) + logits.shape, self.instance.shape)
        here = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        there = tuple(slice(int(a), int(b)) for a, b in zip(low - view.first_zyx, high - view.first_zyx, strict=True))
        said, inside = logits[there], without_strands(largest_part(logits > 0))[there]
        owner, likeliest = self.instance[here], self._logit[here]
        mine = owner == view.instance
        owner[mine], likeliest[mine] = 0, NO_BODY_LOGIT
        owner[inside & ((owner == 0) | (said > likeliest))] = view.instance
        np.maximum(said, likeliest, out=likeliest)

    def keep_all_bodies(self) -> None:
        """Give each body that would lose most of its old outline that one back: no found body may vanish here."""
        sizes = np.bincount(self._before.ravel(), minlength=self.count + 1)
        kept = np.bincount(self._before[self.instance == self._before], minlength=self.count + 1)
        for instance in np.flatnonzero(kept < LEAST_KEPT_SHARE * sizes):
            if instance > 0:
                self.instance[self.instance == instance] = 0
                self.instance[self._before == instance] = instance

    def moved(self) -> list[int]:
        """The bodies whose outlines the last look changed by more than a settled one's (Dice)."""
        sizes = np.bincount(self._before.ravel(), minlength=self.count + 1) + np.bincount(self.instance.ravel(), minlength=self.count + 1)
        same = np.bincount(self._before[self.instance == self._before], minlength=self.count + 1)
        return [instance for instance in range(1, self.count + 1) if 2 * same[instance] < SETTLED * sizes[instance]]

    def take_back_outgrown(self) -> None:
        """Give bodies that the last look made larger than their neighbours let expect the outline that they had before it."""
        sizes, sizes_before = (np.bincount(labels.ravel(), minlength=self.count + 1) for labels in (self.instance, self._before))
        for instance in np.flatnonzero(sizes > sizes_before):
            if instance > 0 and sizes[instance] > OUTGROWN_RATIO * _usual_size(sizes_before[1:], int(instance) - 1):
                self.instance[self.instance == instance] = 0
                self.instance[(self._before == instance) & (self.instance == 0)] = instance

    def start_from_here(self, instances: Iterable[int]) -> None:
        """Make what the last look said of these bodies and around them what the next one knows."""
        said = np.tanh(self._logit / 2)  # twice the probability less one, as a margin between two classes
        field = self._maps.instance.copy()
        self._before = self.instance.copy()
        self._boxes = ndimage.find_objects(self._before, max_label=self.count)
        for instance in instances:
            box = self._boxes[instance - 1]
            if box is not None:
                around = tuple(slice(max(part.start - REACH_OF_VIEW, 0), part.stop + REACH_OF_VIEW) for part in box)
                field[around] = _nearest_body(self.instance[around])
        self._maps = replace(self._maps, margin=(self._maps.margin + said) * np.float32(0.5), instance=field)


def _usual_size(sizes: NDArray[np.int_], index: int) -> float:
    """Median size of a body's neighbours cranial to caudal; infinite where too few are in view."""
    around = np.delete(sizes, index)[max(index - NEIGHBOURS_COMPARED, 0) : index + NEIGHBOURS_COMPARED]
    around = around[around > 0]
    return float(np.median(around)) if len(around) >= NEIGHBOURS_COMPARED else np.inf


def _nearest_body(outlined: NDArray[np.int16]) -> NDArray[np.int16]:
    distance, nearest = ndimage.distance_transform_edt(outlined == 0, return_distances=True, return_indices=True)
    return np.where(distance <= NEAR_VOXELS, outlined[tuple(nearest)], np.int16(0))


def largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected part of a mask, without holes."""
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(parts == sizes.argmax())
    return filled


def without_strands(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask without what is thin beside the body's own depth and reaches far from its thick part: no bone does, and at the end of a scan
    an outline may grow a tongue into the disc. The rim of an endplate and a low body stay, as what is thin is told by that body."""
    if not mask.any():
        return mask
    box = box_around(mask, margin=0)
    depth = ndimage.distance_transform_edt(np.pad(mask[box], 1))[1:-1, 1:-1, 1:-1]
    thick = STRAND_DEPTH_SHARE * float(depth.max())
    kept = np.zeros_like(mask)
    kept[box] = largest_part(mask[box] & (ndimage.distance_transform_edt(depth <= thick) <= thick + STRAND_LENGTH_VOXELS))
    return kept


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
