"""The column as a chain of vertebral bodies: peaks of the centre heat, put in order by dynamic programming."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

PEAK_DISTANCE_MM = 9.0
"""Two peaks closer than this belong to one body: bodies lie at least 17 mm apart (upper thoracic spine)."""

PEAK_HEAT, WEAK_PEAK_HEAT = 0.3, 0.08
"""Lowest heat of a candidate (a well seen body has nearly 1), and of one that may only fill a gap of the chain."""

GAP_RATIO = 1.55
"""A step this much longer than its neighbours' hides a missed body: healthy neighbours differ by less than 1.35."""

LINK_MIN_MM, LINK_MAX_MM = 12.0, 78.0
"""Centre distance of neighbours: 17-42 mm in life (VID table), collapsed pairs less, twice as much where a body was missed."""

SHORTEST_SHARE, CROWDING_PER_MM = 0.8, 0.12
"""Steps below this share of the usual one cost this much per millimetre, unless a disc is seen between the two."""

DISC_BODY_PROBABILITY, DISC_SMOOTHING_MM = 0.35, 1.5
"""Between the centres of two bodies the probability of body falls below this in the disc. Smoothed first, so that neither noise nor a
cleft passes for one."""

Apart = Callable[["BodyCandidate", "BodyCandidate"], bool]
"""Whether something other than body is seen between two candidates."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BodyCandidate:
    """A possible vertebral body: voxel (z, y, x) on the analysis grid, its LPS centre in millimetres and its heat, 0-1.

    ``usual_step_mm`` is the distance to its neighbour that is usual at its height of the column, as far as that is known. ``inferred``
    ones were not seen as bodies of their own: the distance of their neighbours tells of them.
    """

    voxel_zyx: tuple[int, int, int]
    center_lps_mm: NDArray[np.float64]
    heat: float
    usual_step_mm: float = 22.0
    inferred: bool = False


def heat_peaks(
    heat_zyx: NDArray[np.float32], body_zyx: NDArray[np.bool_], spacing_mm: float, origin_lps_mm: NDArray[np.float64]
) -> list[BodyCandidate]:
    """Local maxima of the centre heat inside or beside the bodies, strongest first.

    Parameters
    ----------
    heat_zyx : (z, y, x) centre heat on an LPS-parallel grid.
    body_zyx : (z, y, x) where the network sees vertebral body.
    spacing_mm : voxel size; origin_lps_mm : LPS of voxel 0.
    """
    smooth = ndimage.gaussian_filter(heat_zyx, 1.5 / spacing_mm)
    reach = max(round(PEAK_DISTANCE_MM / spacing_mm), 1)
    near_body = ndimage.binary_dilation(body_zyx, iterations=max(round(2 / spacing_mm), 1))
    peaks = (smooth == ndimage.maximum_filter(smooth, size=2 * reach + 1)) & (smooth > WEAK_PEAK_HEAT) & near_body
    voxels = np.argwhere(peaks)
    found = [
        BodyCandidate(
            voxel_zyx=(int(z), int(y), int(x)),
            center_lps_mm=origin_lps_mm + np.array([x, y, z]) * spacing_mm,
            heat=float(min(smooth[z, y, x], 1.0)),
        )
        for z, y, x in voxels
    ]
    return sorted(found, key=lambda candidate: -candidate.heat)


def disc_between(body_zyx: NDArray[np.float32], spacing_mm: float) -> Apart:
    """Tells of two candidates whether both lie in bone and a disc is seen between them.

    Parameters
    ----------
    body_zyx : (z, y, x) probability of vertebral body on the candidates' grid.
    """
    smooth = ndimage.gaussian_filter(body_zyx, DISC_SMOOTHING_MM / spacing_mm)

    def apart(upper: BodyCandidate, lower: BodyCandidate) -> bool:
        line = np.linspace(upper.voxel_zyx, lower.voxel_zyx, 2 * abs(upper.voxel_zyx[0] - lower.voxel_zyx[0]) + 2)
        profile = ndimage.map_coordinates(smooth, line.T, order=1, mode="nearest")
        return bool(min(profile[0], profile[-1]) > 0.5 and profile.min() < DISC_BODY_PROBABILITY)

    return apart


def _never(_upper: BodyCandidate, _lower: BodyCandidate) -> bool:
    return False


def _link_cost(upper: BodyCandidate, lower: BodyCandidate, apart: Apart) -> float | None:
    """Cost of two candidates being neighbours, or None where that is impossible."""
    step = lower.center_lps_mm - upper.center_lps_mm
    length = float(np.linalg.norm(step))
    if not LINK_MIN_MM <= length <= LINK_MAX_MM or step[2] > -0.35 * length:
        return None
    # Sideways and forward-backward slopes beyond 45 degrees happen only at the lumbosacral bend; a long step means a missed body.
    slope = abs(step[0]) / length + 0.6 * abs(step[1]) / length
    stretch = max(length - 44.0, 0.0) / 14.0 + max(17.0 - length, 0.0) / 5.0
    # Thick slices break one body into two peaks: a step far below the usual one costs nearly what a peak is worth. Where a disc is
    # seen between, the bodies are low, as in a small person with several fractures.
    usual_mm = (upper.usual_step_mm + lower.usual_step_mm) / 2
    crowding = max(SHORTEST_SHARE * usual_mm - length, 0.0) * CROWDING_PER_MM
    if crowding > 0 and apart(upper, lower):
        crowding = 0.0
    return float(0.5 * slope + 0.4 * stretch + crowding)


def _best_chain(candidates: list[BodyCandidate], apart: Apart) -> list[BodyCandidate]:
    """The chain with the highest sum of heat minus link costs, cranial to caudal."""
    order = sorted(candidates, key=lambda candidate: -candidate.center_lps_mm[2])
    best = [candidate.heat for candidate in order]
    previous: list[int | None] = [None] * len(order)
    for lower in range(len(order)):
        for upper in range(lower):
            cost = _link_cost(order[upper], order[lower], apart)
            if cost is not None and best[upper] + order[lower].heat - cost > best[lower]:
                best[lower] = best[upper] + order[lower].heat - cost
                previous[lower] = upper
    if not order:
        return []
    at: int | None = int(np.argmax(best))
    chain = []
    while at is not None:
        chain.append(order[at])
        at = previous[at]
    return chain[::-1]


def chain_steps_mm(chain: list[BodyCandidate]) -> NDArray[np.float64]:
    """Centre distances of neighbours, (n - 1,) mm."""
    centers = np.array([candidate.center_lps_mm for candidate in chain]).reshape(-1, 3)
    steps: NDArray[np.float64] = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    return steps


def chain_step_levels(steps_mm: NDArray[np.float64]) -> NDArray[np.int_]:
    """Levels that each step spans: 1, or more where a body was missed, judged by the two steps on either side."""
    levels = np.ones(len(steps_mm), dtype=int)
    for index, step in enumerate(steps_mm):
        around = np.delete(steps_mm[max(index - 2, 0) : index + 3], index - max(index - 2, 0))
        if len(around) and step > GAP_RATIO * np.median(around) and step > 30.0:
            levels[index] = max(round(float(step / np.median(around))), 2)
    return levels


def column_chain(candidates: list[BodyCandidate], apart: Apart = _never) -> list[BodyCandidate]:
    """The bodies of the column, cranial to caudal.

    Every body of the chain has exactly one neighbour above and below, so a body elsewhere (contrast-filled aorta, a dense bowel
    loop) can join only by replacing a true one. What is weak, or was left out because it is near its neighbours, joins only where the
    chain shows a gap: in a small person all steps are shorter than usual.
    """
    chain = _best_chain([candidate for candidate in candidates if candidate.heat >= PEAK_HEAT], apart)
    left_out = [candidate for candidate in candidates if candidate not in chain]
    for index, levels in reversed(list(enumerate(chain_step_levels(chain_steps_mm(chain))))):
        if levels < 2:
            continue
        upper, lower = chain[index], chain[index + 1]
        middle = (upper.center_lps_mm + lower.center_lps_mm) / 2
        fitting = [candidate for candidate in left_out if np.linalg.norm(candidate.center_lps_mm - middle) < 12.0]
        if fitting and levels == 2:
            chain.insert(index + 1, max(fitting, key=lambda candidate: candidate.heat))
    return chain
