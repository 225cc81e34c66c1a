"""Bodies that ran together with their neighbours, told by how far apart the others stand.

In the upper chest discs are 2 to 4 mm thin: in thick slices, and where the column leans, the network sees one bone through several levels.
Steps from centre to centre, however, follow the level and the person's size closely: of 16,242 steps of the 2,116 scans of the VID data
set, with fractures, scoliosis and L6 among them, 13 are 1.35 times as long as this lets expect, and 11 of these are longer than 1.5 times,
levels that the data set itself leaves out.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.bodies import ClassMaps
from trabecula_models.column import BodyCandidate, chain_steps_mm

FEWEST_STEPS = 5
"""With fewer, the median step may be that of merged bodies."""

STEPS_AROUND = 4
"""A step is compared with this many on either side: several crushed bodies shorten the steps of one part of a column."""

LONG_STEP, LONG_PAIR = 1.4, 1.25
"""A step, and two steps together, over what is expected: two and three levels give 2.0 and 1.5. Without the steps beyond 1.5, two of the
16,242 of VID are longer than the first, and one to four pairs than the second (levels counted right, or one too high)."""

BOTH_LONG, TWO_LEVELS = 1.15, 1.7
"""Two long steps are three levels where each is longer than the first and neither is two levels by itself."""

BONE_PROBABILITY = 0.5
"""Where a body is put between two others the network must see body, and so where the discs of those would be: crushed bodies all around
make the steps of healthy ones long, but their discs are seen."""

INFERRED_HEAT = 0.35
"""Half of what a well seen body has: its confidence is halved."""

CUT_SEARCH_SHARE = 0.25
"""A cut lies within this part of a step of where equal steps would put it, at the least bone across the column."""

Chain = list[BodyCandidate]

Stretch = tuple[int, int, int]
"""First and last body of a part of the chain that is too long, and how many bodies stand between them in truth."""


def expected_steps_mm(chain: Chain) -> NDArray[np.float64]:
    """Usual distance of each pair of neighbours at their height of the column, as large as the steps around it are, (n - 1,) mm."""
    usual = np.array([candidate.usual_step_mm for candidate in chain[:-1]])
    ratio = chain_steps_mm(chain) / usual
    own = [np.median(np.delete(ratio[max(k - STEPS_AROUND, 0) : k + STEPS_AROUND + 1], min(k, STEPS_AROUND))) for k in range(len(ratio))]
    return np.asarray(usual * own)


def with_missed_bodies(chain: Chain, instances: NDArray[np.int16], maps: ClassMaps, spacing_mm: float) -> tuple[Chain, NDArray[np.int16]]:
    """The chain and its instances with the bodies that its steps tell of, where bone is seen.

    Parameters
    ----------
    chain : bodies, cranial to caudal, with their usual steps.
    instances : (z, y, x) bodies 1, 2, ... of ``chain``.
    maps : what the network saw, on the same LPS-parallel grid of cubic voxels.
    """
    if len(chain) <= FEWEST_STEPS:
        return chain, instances
    ratio = chain_steps_mm(chain) / expected_steps_mm(chain)
    for stretch in reversed(_stretches(ratio)):
        for choice in (stretch, *_long_steps(ratio, stretch)):
            if _is_bone(chain, maps, choice):
                chain, instances = _with_bodies_between(chain, instances, maps, spacing_mm, choice)
                break
    return chain, instances


def _stretches(ratio: NDArray[np.float64]) -> list[Stretch]:
    """The parts that are too long, from above: two steps that are three levels together, or one that is two or more by itself."""
    pairs = [_pair_excess(ratio[index : index + 2]) for index in range(len(ratio))]
    found = []
    index = 0
    while index < len(ratio):
        if pairs[index] > 0 and pairs[index] >= max(pairs[index + 1 : index + 2], default=0.0):
            found.append((index, index + 2, 2))
            index += 1
        elif ratio[index] >= LONG_STEP and not any(pairs[index : index + 2]):
            found.append(_one_step(ratio, index))
        index += 1
    return found


def _one_step(ratio: NDArray[np.float64], index: int) -> Stretch:
    return index, index + 1, max(round(float(ratio[index])) - 1, 1)


def _long_steps(ratio: NDArray[np.float64], stretch: Stretch) -> list[Stretch]:
    """The longest step of a pair, where it is long by itself: of a pair with a disc in it, one step may still hide a body."""
    first, last, _ = stretch
    longest = first + int(np.argmax(ratio[first:last]))
    return [_one_step(ratio, longest)] if last - first > 1 and ratio[longest] >= LONG_STEP else []


def _pair_excess(pair: NDArray[np.float64]) -> float:
    """Mean of two steps over what is expected where both together are three levels, else 0."""
    long = len(pair) == 2 and pair.min() >= BOTH_LONG and pair.max() < TWO_LEVELS and pair.mean() >= LONG_PAIR
    return float(pair.mean()) if long else 0.0


def _is_bone(chain: Chain, maps: ClassMaps, stretch: Stretch) -> bool:
    """Whether body is seen where bodies would be put, and where the chain has its discs now."""
    first, last, _ = stretch
    knots = np.array([candidate.voxel_zyx for candidate in chain[first : last + 1]], float)
    discs = np.rint((knots[:-1] + knots[1:]) / 2).astype(int)
    voxels = np.rint(_equally_spaced(chain, stretch)[1:-1]).astype(int)
    return bool(maps.body[tuple(np.concatenate([voxels, discs]).T)].min() >= BONE_PROBABILITY)


def _equally_spaced(chain: Chain, stretch: Stretch) -> NDArray[np.float64]:
    """Both ends of a stretch and the bodies between them, at equal distances along the column, (between + 2, 3) voxels (z, y, x)."""
    first, last, between = stretch
    knots = np.array([candidate.voxel_zyx for candidate in chain[first : last + 1]], float)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    places = np.linspace(0.0, along[-1], between + 2)
    return np.column_stack([np.interp(places, along, knots[:, axis]) for axis in range(3)])


def _with_bodies_between(
    chain: Chain, instances: NDArray[np.int16], maps: ClassMaps, spacing_mm: float, stretch: Stretch
) -> tuple[Chain, NDArray[np.int16]]:
    """Put equally spaced bodies between two of the chain in place of those that stand there, and cut the bone between them."""
    first, last, _ = stretch
    points = _equally_spaced(chain, stretch)
    origin = chain[first].center_lps_mm - np.array(chain[first].voxel_zyx[::-1]) * spacing_mm
    added = [
        replace(
            chain[first],
            voxel_zyx=(int(z), int(y), int(x)),
            center_lps_mm=origin + np.array([x, y, z]) * spacing_mm,
            heat=min(INFERRED_HEAT, chain[first].heat),
            inferred=True,
        )
        for z, y, x in np.rint(points[1:-1]).astype(int)
    ]
    out = instances.copy()
    more = len(added) - (last - first - 1)
    out[instances > last] += np.int16(more)
    bone = np.argwhere((instances >= first + 1) & (instances <= last + 1))
    axis = (points[-1] - points[0]) / np.linalg.norm(points[-1] - points[0])
    height = (bone - points[0]) @ axis
    middles = (points - points[0]) @ axis
    cuts = [_least_bone(bone, height, maps, low, high) for low, high in pairwise(middles)]
    out[tuple(bone.T)] = first + 1 + np.searchsorted(cuts, height)
    return [*chain[: first + 1], *added, *chain[last:]], out


def _least_bone(bone: NDArray[np.int_], height: NDArray[np.float64], maps: ClassMaps, low: float, high: float) -> float:
    """Height between two centres at which the column has the least bone, near the middle."""
    search = CUT_SEARCH_SHARE * (high - low)
    rows = np.arange(np.floor((low + high) / 2 - search), np.ceil((low + high) / 2 + search) + 1)
    where = tuple(bone.T)
    weight = np.maximum(maps.body[where] - maps.disc[where], 0.0)
    row = np.clip(np.rint(height - rows[0]).astype(int) + 1, 0, len(rows) + 1)
    profile = np.bincount(row, weights=weight, minlength=len(rows) + 2)[1:-1]
    return float(rows[int(np.argmin(ndimage.gaussian_filter1d(profile, 0.7, mode="nearest")))])
