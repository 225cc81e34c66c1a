"""From class probabilities to one body mask per vertebra: a watershed between neighbours."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from trabecula_models.column import LINK_MIN_MM, BodyCandidate

Box = tuple[slice, ...]
"""A part of an array, one slice per axis."""

BODY_PROBABILITY = 0.5

PEDICLE_PROBABILITY = 0.2
"""What is bone and may be posterior with at least this probability, and is not inside the body's outline, is posterior. Whole vertebrae of
verse012: Dice 0.870 without this, 0.873 with it; the value was not searched."""

MERGED_SIZE_RATIO = 2.2
"""An instance may be two bodies where its volume and its length along the column, each over its neighbours' median and multiplied, exceed
this: merged ones give 2.4 to 3.0 (three held-out columns: pairs with a crushed body add much length and little volume), single ones rarely
more than 1.9 (2.24 between a crushed and a cut neighbour)."""

MERGED_WAIST = 0.72
"""And where a disc is seen in it: some cross-section near the middle has this share of the thickest ones above and below, or less. Merged
ones 0.61 to 0.66, single ones of that size 0.78 and more (18 drawn and 6 real columns; both limits were chosen on these)."""

DISC_WITHIN = (0.2, 0.8)
"""Part of the length of two merged bodies, from above, within which the disc between them is looked for: the smaller one may be crushed to
a third of the other."""

PEAK_ASTRAY_MM = 8.0
"""Peak and middle of a body lie 1 to 3 mm apart, at most 4.6 (18 drawn and 6 real columns), except for cut bodies; 12 mm in the one case
where two crushed bodies pulled at one peak."""

FEWEST_FOR_COMPARISON = 4
"""With fewer bodies in view, what is usual in this patient is not known."""

DEEP_HEAT, LOST_SHARE = 0.5, 0.5
"""Heat around a centre over the first, and the part of it that is called disc where a body was lost. Of 92 drawn columns (slices of 3 mm
and more, or marrow under 57 mg/cm3) three exceed this: a crushed L4 that was lost (0.66) and two bodies found either way; the next, fish
vertebrae, have 0.35 (ADR 0040)."""

SMALLEST_BODY_ML = 2.0
"""A crushed upper thoracic body still has about 4 ml; less is a speckle or a sliver at the end of the field."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClassMaps:
    """Probabilities (float32, 0-1) of the fine network on an LPS-parallel grid, axes [z, y, x], and the centre heat."""

    body: NDArray[np.float32]
    posterior: NDArray[np.float32]
    disc: NDArray[np.float32]
    sacrum: NDArray[np.float32]
    rib: NDArray[np.float32]
    pelvis: NDArray[np.float32]
    heat: NDArray[np.float32]

    def body_margin(self) -> NDArray[np.float32]:
        """By how much the probability of body exceeds that of the next class, -1 to 1."""
        rest = 1 - self.body - self.disc - self.posterior - self.sacrum
        margin: NDArray[np.float32] = self.body - np.maximum(np.maximum(self.disc, self.posterior), np.maximum(self.sacrum, rest))
        return margin

    def with_dark_marrow(self) -> Self:
        """A centre that is seen in what is called disc is that of a body whose marrow is darker than its discs (in place).

        In osteoporosis that is so, and the classes may then be mistaken where the heat is not. Beside crushed bodies the heat reaches into
        true discs: only where it is disc more than body that it lies in was the body lost.
        """
        deep, dark = self.heat > DEEP_HEAT, self.disc > self.body
        if not (deep & dark).any():
            return self
        box = box_around(deep, margin=0)
        centres, count = ndimage.label(deep[box])
        lost = ndimage.mean(dark[box], centres, np.arange(count + 1)) > LOST_SHARE
        lost[0] = False
        marrow = lost[centres] & dark[box]
        self.body[box][marrow] += self.disc[box][marrow]
        self.disc[box][marrow] = 0.0
        return self

    def posterior_bone(self) -> NDArray[np.float32]:
        """Probability of posterior elements; where they are likely at all, of bone, so that no gap opens between pedicle and body."""
        bone: NDArray[np.float32] = np.where(self.posterior > PEDICLE_PROBABILITY, self.posterior + self.body, self.posterior)
        return bone


def box_around(mask: NDArray[np.bool_], margin: int) -> Box:
    """The smallest box that holds all true voxels of a mask (at least one), ``margin`` voxels wider where the array allows."""
    box = []
    for axis in range(mask.ndim):
        seen = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(max(int(seen[0]) - margin, 0), int(seen[-1]) + margin + 1))
    return tuple(box)


def split_bodies(maps: ClassMaps, chain: list[BodyCandidate], spacing_mm: float) -> NDArray[np.int16]:
    """Instances of the chain's bodies: 1, 2, ... cranial to caudal; 0 elsewhere.

    Discs are ridges, deep bone and heat are basins; what is not connected to its body's largest part is dropped.
    """
    body = (maps.body > BODY_PROBABILITY) | ((maps.body > 0.3) & (maps.heat > 0.6))
    markers = np.zeros(body.shape, dtype=np.int32)
    for index, candidate in enumerate(chain, start=1):
        z, y, x = candidate.voxel_zyx
        reach = max(round(2 / spacing_mm), 1)
        markers[z - reach : z + reach + 1, y - reach : y + reach + 1, x - reach : x + reach + 1] = index
    markers[~body] = 0
    for index, candidate in enumerate(chain, start=1):
        markers[candidate.voxel_zyx] = index
        body[candidate.voxel_zyx] = True
    out = np.zeros(body.shape, dtype=np.int16)
    if not body.any():
        return out
    # A body's depth is told by the nearest voxel around it: one voxel more than holds all bodies gives the same as the whole crop.
    around = box_around(body, margin=1)
    out[around] = _split(body[around], markers[around], maps.heat[around], maps.disc[around], spacing_mm)
    return out


def _split(
    body: NDArray[np.bool_], markers: NDArray[np.int32], heat: NDArray[np.float32], disc: NDArray[np.float32], spacing_mm: float
) -> NDArray[np.int16]:
    depth_mm = ndimage.distance_transform_edt(body) * spacing_mm
    landscape = -(np.minimum(depth_mm, 12.0) / 12.0 + 1.5 * heat) + 2.0 * disc
    instances: NDArray[np.int16] = watershed(landscape.astype(np.float32), markers, mask=body).astype(np.int16)
    opened = ndimage.binary_opening(body, iterations=1)
    out = np.zeros_like(instances)
    for index, box in enumerate(ndimage.find_objects(instances), start=1):
        if box is None:
            continue
        mine = (instances[box] == index) & opened[box]
        parts, count = ndimage.label(mine)
        if count == 0:
            continue
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        kept = ndimage.binary_fill_holes(parts == sizes.argmax())
        out[box][kept] = index
    return out


def part_merged_bodies(
    instances: NDArray[np.int16], chain: list[BodyCandidate], maps: ClassMaps, spacing_mm: float
) -> tuple[list[BodyCandidate], NDArray[np.int16]]:
    """The chain with two members, and the instances with two numbers, where one instance holds two bodies.

    In severely biconcave ("fish") vertebrae the endplates of neighbours nearly touch and their two centres melt into one peak between
    them; so may a crushed body and its neighbour. Such an instance is far larger and longer than its neighbours; no healthy one is both.
    It may also have taken much of a neighbour that was poorly seen: the part on that one's centre goes back to it.

    Parameters
    ----------
    instances : bodies 1, 2, ... of ``chain`` on an LPS-parallel grid, axes [z, y, x].
    maps : what the network saw, on the same grid.
    """
    if len(chain) < FEWEST_FOR_COMPARISON:
        return chain, instances
    volumes, lengths_mm, axes = _sizes(instances, chain, spacing_mm)
    parted: list[BodyCandidate] = []
    out = np.zeros_like(instances)
    for index, candidate in enumerate(chain):
        around = [other for other in range(max(index - 2, 0), min(index + 3, len(chain))) if other != index and volumes[other] > 0]
        usual = float(np.median(volumes[around]) * np.median(lengths_mm[around])) if around else np.inf
        voxels = np.argwhere(instances == index + 1)
        large = volumes[index] * lengths_mm[index] > MERGED_SIZE_RATIO * usual
        parts = _parts_beside_a_disc(voxels, axes[index][::-1], maps) if large else [voxels]
        before = len(parted)
        for part, neighbour in zip(parts, (index - 1, index + 1), strict=False):
            body = candidate if len(parts) == 1 else _in_the_middle(candidate, part, spacing_mm)
            one_stays = neighbour < index or len(parted) > before
            if len(parts) > 1 and one_stays and 0 <= neighbour < len(chain) and _near(body, chain[neighbour]):
                out[tuple(part.T)] = len(parted) + (neighbour > index)
            else:
                parted.append(body)
                out[tuple(part.T)] = len(parted)
    return parted, out


def _near(body: BodyCandidate, neighbour: BodyCandidate) -> bool:
    """Whether two centres are nearer than those of two bodies can be."""
    return float(np.linalg.norm(body.center_lps_mm - neighbour.center_lps_mm)) < LINK_MIN_MM


def _sizes(
    instances: NDArray[np.int16], chain: list[BodyCandidate], spacing_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Volume in ml, length along the column in mm and downward axis (x, y, z) of every instance."""
    centers = np.array([candidate.center_lps_mm for candidate in chain])
    count = len(chain)
    volumes, lengths_mm = body_volumes_ml(instances, count, spacing_mm), np.zeros(count)
    axes = np.array([centers[min(index + 1, count - 1)] - centers[max(index - 1, 0)] for index in range(count)])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    for index, box in enumerate(ndimage.find_objects(instances, max_label=count)):
        if box is not None:
            along_mm = np.argwhere(instances[box] == index + 1)[:, ::-1] @ axes[index] * spacing_mm
            lengths_mm[index] = float(np.subtract(*np.percentile(along_mm, (95, 5))))
    return volumes, lengths_mm, axes


def _parts_beside_a_disc(voxels_zyx: NDArray[np.int_], down_zyx: NDArray[np.float64], maps: ClassMaps) -> list[NDArray[np.int_]]:
    """The voxels (n, 3) above and below the deepest waist near the middle, or all of them where no disc is seen there."""
    along = voxels_zyx @ down_zyx
    row = np.rint(along - along.min()).astype(int)
    where = tuple(voxels_zyx.T)
    bone = ndimage.gaussian_filter1d(np.bincount(row, weights=np.maximum(maps.body[where] - maps.disc[where], 0.0)), 1.0)
    around = np.minimum(np.maximum.accumulate(bone), np.maximum.accumulate(bone[::-1])[::-1])
    first, last = (round(share * (len(bone) - 1)) for share in DISC_WITHIN)
    waist = bone[first : last + 1] / np.maximum(around[first : last + 1], 1e-6)
    cut = first + int(np.argmin(waist))
    if waist.min() > MERGED_WAIST:
        return [voxels_zyx]
    return [voxels_zyx[row < cut], voxels_zyx[row >= cut]]


def _in_the_middle(candidate: BodyCandidate, voxels_zyx: NDArray[np.int_], spacing_mm: float) -> BodyCandidate:
    """The candidate on the voxel that is nearest to the middle of these."""
    z, y, x = voxels_zyx[np.argmin(np.linalg.norm(voxels_zyx - voxels_zyx.mean(axis=0), axis=1))]
    moved = np.array([x, y, z]) - np.array(candidate.voxel_zyx[::-1])
    return replace(candidate, voxel_zyx=(int(z), int(y), int(x)), center_lps_mm=candidate.center_lps_mm + moved * spacing_mm)


def recentred(instances: NDArray[np.int16], chain: list[BodyCandidate], spacing_mm: float) -> list[BodyCandidate]:
    """The chain with members moved into the middle of their instances where the peak lies astray, as between two crushed bodies.

    The first and the last one stay: the field may cut them, and their peaks lie where their centres would be.
    """
    out = list(chain)
    for index, box in enumerate(ndimage.find_objects(instances, max_label=len(chain))):
        if box is None or index in (0, len(chain) - 1):
            continue
        voxels = np.argwhere(instances[box] == index + 1) + [part.start for part in box]
        if np.linalg.norm(voxels.mean(axis=0) - chain[index].voxel_zyx) * spacing_mm > PEAK_ASTRAY_MM:
            out[index] = _in_the_middle(chain[index], voxels, spacing_mm)
    return out


def body_volumes_ml(instances: NDArray[np.int16], count: int, spacing_mm: float) -> NDArray[np.float64]:
    """Volume of instances 1..count in millilitres."""
    voxels = np.bincount(instances.ravel(), minlength=count + 1)[1 : count + 1]
    return np.asarray(voxels * spacing_mm**3 / 1000.0, dtype=np.float64)
