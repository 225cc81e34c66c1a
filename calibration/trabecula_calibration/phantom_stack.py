"""Bodies one behind the other (European Spine Phantom): each is sought by itself, then a line is laid through them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from trabecula_calibration.phantom_definition import Insert, PhantomDefinition
from trabecula_calibration.phantom_pose import PhantomPose, disc_points
from trabecula_calibration.phantom_search import HU_TOLERANCE, RELATIVE_TOLERANCE
from trabecula_morphometry.volume import Volume

RADIUS_SHARE, LENGTH_SHARE = 0.93, 0.85
"""Share of a body's radius and length that must be even: nearly all, so that the place is pinned from every side."""

SMOOTH_MM = np.array([1.2, 1.2, 1.0])
"""SD of the smoothing, x, y, z."""

WALL_ABOVE_HU = 120.0
"""What exceeds a body's inside by so much is its wall: 800 mg/cm3, blurred over its millimetre."""

WALL_SMOOTH_MM = 0.5
WALL_SEARCH_MM = ((14.0, 6.0), (9.0, 6.0), (6.0, 6.0), (6.0, 6.0))
"""How far beyond a body's side and ends its wall is sought, step by step: the rough place may be off by 12 mm, and the next body's wall
begins 15 mm beyond this one's end.
"""

FEWEST_WALL_POINTS = 60

_START_MM = (-12.0, -6.0, 0.0, 6.0, 12.0)
_START_ALONG_MM = tuple(np.arange(-16.0, 17.0, 4.0))


def settle_stack(volume: Volume, definition: PhantomDefinition, rough: PhantomPose, expected_hu: NDArray[np.float64]) -> PhantomPose:
    """The pose whose axis runs through the middles of the bodies: of their walls, or where those are not seen, of their even insides."""
    sharp, quiet = _smoothed(volume, np.full(3, WALL_SMOOTH_MM)), _smoothed(volume, SMOOTH_MM)
    along = np.array([insert.center_mm[2] for insert in definition.inserts])
    centers = []
    for insert, hu in zip(definition.inserts, expected_hu, strict=True):
        walled = _wall_center(sharp, insert, rough, float(hu) + WALL_ABOVE_HU)
        # Noise must not drown the edges that pin a body.
        centers.append(walled if walled is not None else _even_center(quiet, insert, rough, float(hu)))
    return _through(np.array(centers), along, rough)


def _smoothed(volume: Volume, sd_xyz_mm: NDArray[np.float64]) -> Volume:
    sd_zyx = (sd_xyz_mm / volume.grid.spacing_xyz_mm)[::-1]
    return Volume(hu_zyx=ndimage.gaussian_filter(volume.hu_zyx.astype(np.float32), sd_zyx), grid=volume.grid)


def _wall_center(sharp: Volume, insert: Insert, rough: PhantomPose, wall_hu: float) -> NDArray[np.float64] | None:
    """LPS middle of the wall around a body; None where too little of it is seen."""
    place, middle = rough.insert_center(insert), np.zeros(3)
    for beside_mm, beyond_mm in WALL_SEARCH_MM:
        half = rough.scale * (insert.half_length_mm or 0.0) + beyond_mm
        disc = disc_points(rough.scale * insert.radius_mm + beside_mm, 1.5)
        block = np.concatenate([np.column_stack([disc, np.full(len(disc), station)]) for station in np.arange(-half, half + 1e-6, 1.5)])
        points = place + middle + block
        bright = points[sharp.sample(rough.to_lps(points)) > wall_hu] - place
        if len(bright) < FEWEST_WALL_POINTS:
            return None
        # Halfway between the outermost walls, for the nearer side of a wall that is half in the block must not weigh more.
        middle = 0.5 * (np.percentile(bright, 2, axis=0) + np.percentile(bright, 98, axis=0))
    return rough.to_lps(place + middle)


def _even_center(volume: Volume, insert: Insert, rough: PhantomPose, expected_hu: float) -> NDArray[np.float64]:
    """LPS middle of one body: where a cylinder a little smaller than it is even and reads about what it should."""
    tolerance = HU_TOLERANCE + RELATIVE_TOLERANCE * abs(expected_hu)
    place = rough.insert_center(insert)

    def cost(shift_mm: NDArray[np.float64], cylinder: NDArray[np.float64]) -> float:
        hu = np.clip(volume.sample(rough.to_lps(place + shift_mm + cylinder)).astype(np.float64), -200.0, 1200.0)
        return float(hu.std()) / 20.0 + 3.0 * max(abs(float(hu.mean()) - expected_hu) / tolerance - 0.7, 0.0)

    core, whole = _cylinder(insert, 0.6, 0.5, rough.scale), _cylinder(insert, RADIUS_SHARE, LENGTH_SHARE, rough.scale)
    best = min((np.array([x, y, z]) for x in _START_MM for y in _START_MM for z in _START_ALONG_MM), key=lambda shift: cost(shift, core))
    for cylinder, size in ((core, 3.0), (whole, 3.0), (whole, 1.0)):
        simplex = best + np.vstack([np.zeros(3), size * np.eye(3)])
        options = {"initial_simplex": simplex, "maxfev": 90, "xatol": 0.05, "fatol": 0.005}
        best = optimize.minimize(cost, best, args=(cylinder,), method="Nelder-Mead", options=options).x
    return rough.to_lps(place + best)


def _cylinder(insert: Insert, radius_share: float, length_share: float, scale: float) -> NDArray[np.float64]:
    half = length_share * scale * (insert.half_length_mm or 0.0)
    disc = disc_points(radius_share * scale * insert.radius_mm, 2.5)
    return np.concatenate([np.column_stack([disc, np.full(len(disc), station)]) for station in np.linspace(-half, half, 9)])


def _through(
    centers_lps_mm: Sequence[NDArray[np.float64]] | NDArray[np.float64], along_mm: NDArray[np.float64], rough: PhantomPose
) -> PhantomPose:
    """Least-squares line; lean and scale from the direction, sign as found."""
    centers = np.asarray(centers_lps_mm)
    slopes = np.array([np.polyfit(along_mm, centers[:, axis], 1) for axis in range(3)])
    direction, origin = slopes[:, 0], slopes[:, 1]
    upward = direction if direction[2] > 0 else -direction
    return replace(
        rough,
        origin_lps_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
        lean_x=float(upward[0] / max(upward[2], 1e-6)),
        lean_y=float(upward[1] / max(upward[2], 1e-6)),
        turned=bool(direction[2] < 0),
        scale=float(np.linalg.norm(direction)),
    )
