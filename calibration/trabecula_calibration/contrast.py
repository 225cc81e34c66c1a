"""The contrast phase from the image: attenuation of the aorta and the vena cava, found by their place beside the column.

Both vessels are followed along the column as the chain of discs that are round, even in attenuation and near where the vessel runs; the
median along the chain is robust against calcified plaques, branches and a few wrong places. The header is only a hint and is not used here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_morphometry.frame import BodyShape
from trabecula_morphometry.levels import level_position
from trabecula_morphometry.volume import Volume


class Phase(StrEnum):
    """Phase of intravenous contrast."""

    UNENHANCED = "unenhanced"
    ARTERIAL = "arterial"
    PORTAL_VENOUS = "portal_venous"
    DELAYED = "delayed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastReading:
    """Phase with what it rests on. ``source`` is "image"; HU are None where the vessel was not found."""

    phase: Phase
    confidence: float
    aorta_hu: float | None = None
    vena_cava_hu: float | None = None
    source: str = "image"


UNENHANCED_BELOW_HU = 80.0
"""Unenhanced blood is 35-65 HU; enhanced aorta in any phase is above 90 (clinical-facts 7)."""

UNSURE_BELOW_HU = 105.0
"""Above this the aorta is enhanced whatever the cava says; below, the cava may speak."""

UNENHANCED_CAVA_HU = 70.0
CAVA_SAYS_AT_MOST_HU = 25.0

ARTERIAL_FROM_HU = 210.0
ARTERIAL_CAVA_SHARE = 0.70
"""Arterial: bright aorta while the cava is still well below. Portal venous aortas are 120-200 HU with the cava catching up."""

DELAYED_BELOW_HU = 115.0
DELAYED_DIFFERENCE_HU = 15.0
"""Delayed: blood pool evenly and weakly enhanced."""

MIN_CONFIDENCE = 0.6

_STEP_MM = 2.0
_BACK_MM = np.arange(-52.0, 13.0, _STEP_MM)
"""Posterior coordinate relative to the body's front wall."""

_LEFT_MM = np.arange(-54.0, 55.0, _STEP_MM)
CORE_RADIUS_MM = 4.5
_RADIUS_MM = {"aorta": 7.0, "vena_cava": 6.0}


def read_contrast(volume: Volume, shapes: Sequence[tuple[str, BodyShape]]) -> ContrastReading:
    """Contrast phase of a CT from its vessels.

    Parameters
    ----------
    volume : the original CT.
    shapes : names and shapes of the bodies that lie in the image; T9-L4 are used.
    """
    near = [(name, shape) for name, shape in shapes if level_position("T9") <= level_position(name) <= level_position("L4")]
    near.sort(key=lambda item: level_position(item[0]))
    planes = [plane for shape in _stations([shape for _, shape in near]) if (plane := _plane(volume, *shape)) is not None]
    if len(planes) < 3:
        return ContrastReading(phase=Phase.UNKNOWN, confidence=0.0)
    aorta = _follow(planes, "aorta")
    if aorta is None:
        return ContrastReading(phase=Phase.UNKNOWN, confidence=0.0)
    cava = _follow(planes, "vena_cava")
    return classify_phase(aorta, cava)


def classify_phase(aorta_hu: float, vena_cava_hu: float | None) -> ContrastReading:
    """Phase from the attenuation of the two vessels; the confidence falls to one half at a limit."""

    def reading(phase: Phase, *margins_hu: float) -> ContrastReading:
        # 12 HU: about one SD of a vessel's median between readers, kVp and stations.
        confidence = float(np.prod([1.0 / (1.0 + np.exp(-max(margin, -100.0) / 12.0)) for margin in margins_hu]))
        if confidence < MIN_CONFIDENCE:
            phase = Phase.UNKNOWN
        return ContrastReading(phase=phase, confidence=confidence, aorta_hu=aorta_hu, vena_cava_hu=vena_cava_hu)

    below = UNENHANCED_BELOW_HU - aorta_hu
    if vena_cava_hu is not None and aorta_hu < UNSURE_BELOW_HU:
        # Plaques and noise lift a small aorta; a cava as dark as muscle beside it says that there is no contrast in either.
        below += min(UNENHANCED_CAVA_HU - vena_cava_hu, CAVA_SAYS_AT_MOST_HU)
    if below > 0.0:
        return reading(Phase.UNENHANCED, below)
    enhanced = max(aorta_hu - UNENHANCED_BELOW_HU, -below)
    cava = vena_cava_hu if vena_cava_hu is not None else 0.75 * aorta_hu
    if aorta_hu >= ARTERIAL_FROM_HU and cava < ARTERIAL_CAVA_SHARE * aorta_hu:
        return reading(Phase.ARTERIAL, enhanced, max(aorta_hu - ARTERIAL_FROM_HU, 10.0))
    if vena_cava_hu is not None and aorta_hu < DELAYED_BELOW_HU and abs(aorta_hu - cava) < DELAYED_DIFFERENCE_HU:
        return reading(Phase.DELAYED, enhanced, DELAYED_BELOW_HU - aorta_hu + 5.0)
    return reading(Phase.PORTAL_VENOUS, enhanced)


def _stations(shapes: Sequence[BodyShape]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Front-wall points and axes (posterior, left) at bodies and half way between neighbours."""
    at = [(s.frame.origin_lps_mm - 0.5 * s.depth_mm * s.frame.posterior, np.stack([s.frame.posterior, s.frame.left])) for s in shapes]
    between = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in pairwise(at)]
    return [item for pair in zip(at, between, strict=False) for item in pair] + at[len(between) :]


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    """Per vessel: mean and unevenness of the disc centred at each place [back, left], and how far it stands out from its ring.

    ``core`` is the median of a narrower disc: calcified plaques lie in the wall and take up less than half of it.
    """

    mean: dict[str, NDArray[np.float64]]
    core: NDArray[np.float64]
    uneven: dict[str, NDArray[np.float64]]
    round: dict[str, NDArray[np.float64]]


def _plane(volume: Volume, front: NDArray[np.float64], axes: NDArray[np.float64]) -> _Plane | None:
    """A slab across the vessels at one station, averaged over 6 mm along the column; None outside the image."""
    up = np.cross(axes[1], axes[0])
    back, left = np.meshgrid(_BACK_MM, _LEFT_MM, indexing="ij")
    points = front + back[..., None] * axes[0] + left[..., None] * axes[1]
    if not volume.grid.contains(front[None] + np.array([[-40.0], [0.0]]) * axes[0]).all():
        return None
    hu = np.mean([volume.sample(points + offset * up) for offset in (-3.0, -1.0, 1.0, 3.0)], axis=0).astype(np.float64)
    hu = np.clip(hu, -200.0, 600.0)
    mean, uneven, roundness = {}, {}, {}
    for vessel, radius in _RADIUS_MM.items():
        disc, ring = _disc(0.0, radius), _disc(radius + 3.0, radius + 6.0)
        mean[vessel] = ndimage.convolve(hu, disc, mode="nearest")
        square = ndimage.convolve(hu * hu, disc, mode="nearest")
        uneven[vessel] = np.sqrt(np.maximum(square - mean[vessel] ** 2, 0.0))
        roundness[vessel] = mean[vessel] - ndimage.convolve(hu, ring, mode="nearest")
    core = ndimage.median_filter(hu, footprint=_disc(0.0, CORE_RADIUS_MM) > 0.0, mode="nearest")
    return _Plane(mean, core, uneven, roundness)


def _disc(inner_mm: float, outer_mm: float) -> NDArray[np.float64]:
    reach = int(np.ceil(outer_mm / _STEP_MM))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] * _STEP_MM
    distance = np.hypot(y, x)
    weight = ((distance <= outer_mm) & (distance >= inner_mm)).astype(np.float64)
    return np.asarray(weight / weight.sum())


def _prior(vessel: str) -> NDArray[np.float64]:
    """Squared distance, in sigmas, from where the vessel usually runs: aorta in front and left, cava in front and right."""
    back, left = np.meshgrid(_BACK_MM, _LEFT_MM, indexing="ij")
    place = {"aorta": (-10.0, 9.0, 8.0, 11.0), "vena_cava": (-9.0, -22.0, 9.0, 9.0)}[vessel]
    return np.asarray(((back - place[0]) / place[2]) ** 2 + ((left - place[1]) / place[3]) ** 2)


def _follow(planes: Sequence[_Plane], vessel: str) -> float | None:
    """Median HU along the best chain of places, None where no place looks like a vessel."""
    prior = _prior(vessel)
    costs = []
    for plane in planes:
        noise = max(float(np.percentile(plane.uneven[vessel], 10)), 6.0)
        lit = np.clip(plane.round[vessel] / 40.0, -1.0, 2.0)
        impossible = (plane.mean[vessel] < 10.0) | (plane.mean[vessel] > 560.0)
        costs.append(0.5 * prior + np.clip(plane.uneven[vessel] / noise - 1.0, 0.0, 6.0) - 1.5 * lit + 50.0 * impossible)
    path = _smooth_chain(np.stack(costs))
    chosen = [(plane.core[place], cost[place]) for plane, cost, place in zip(planes, costs, path, strict=True)]
    good = [hu for hu, cost in chosen if cost < 6.0]
    return float(np.median(good)) if len(good) >= max(2, len(planes) // 3) else None


def _smooth_chain(costs: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Cheapest chain of places through all stations; a vessel moves at most about 10 mm between two."""
    reach = 5
    shifts = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    penalty = np.array([0.04 * (dy * dy + dx * dx) for dy, dx in shifts])
    total, origins = costs[0], []
    height, width = total.shape
    for cost in costs[1:]:
        padded = np.pad(total, reach, constant_values=1e6)
        options = (
            np.stack([padded[reach + dy : reach + dy + height, reach + dx : reach + dx + width] for dy, dx in shifts])
            + penalty[:, None, None]
        )
        origins.append(options.argmin(axis=0))
        total = options.min(axis=0) + cost
    y, x = divmod(int(total.argmin()), width)
    path = [(y, x)]
    for origin in reversed(origins):
        dy, dx = shifts[int(origin[y, x])]
        y, x = min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)
        path.append((y, x))
    return path[::-1]
