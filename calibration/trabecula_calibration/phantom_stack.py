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

_START_MM = (-12.0, -6.0, 0.0, 6.0, 12.0)
_START_ALONG_MM = tuple(np.arange(-16.0, 17.0, 4.0))


def settle_stack(volume: Volume, definition: PhantomDefinition, rough: PhantomPose, expected_hu: NDArray[np.float64]) -> PhantomPose:
    """The pose whose axis runs through the middles of the bodies."""
    spacing = volume.grid.spacing_xyz_mm
    # Noise must not drown the edges that pin a body.
    smooth = ndimage.gaussian_filter(volume.hu_zyx.astype(np.float32), (SMOOTH_MM / spacing)[::-1])
    quiet = Volume(hu_zyx=smooth, grid=volume.grid)
    centers = np.array([_body_center(quiet, insert, rough, hu) for insert, hu in zip(definition.inserts, expected_hu, strict=True)])
    along = np.array([insert.center_mm[2] for insert in definition.inserts])
    return _through(centers, along, rough)


def _body_center(volume: Volume, insert: Insert, rough: PhantomPose, expected_hu: float) -> NDArray[np.float64]:
    """LPS middle of one body: where a cylinder a little smaller than it is even and reads about what it should."""
    tolerance = HU_TOLERANCE + RELATIVE_TOLERANCE * abs(expected_hu)
    place = rough.insert_center(insert)

    def cost(shift_mm: NDArray[np.float64], cylinder: NDArray[np.float64]) -> float:
        hu = np.clip(volume.sample(rough.to_lps(place + shift_mm + cylinder)).astype(np.float64), -200.0, 1200.0)
        return float(hu.std()) / 20.0 + 3.0 * max(abs(float(hu.mean()) - expected_hu) / tolerance - 0.7, 0.0)

    core, whole = _cylinder(insert, 0.6, 0.5), _cylinder(insert, RADIUS_SHARE, LENGTH_SHARE)
    best = min((np.array([x, y, z]) for x in _START_MM for y in _START_MM for z in _START_ALONG_MM), key=lambda shift: cost(shift, core))
    for cylinder, size in ((core, 3.0), (whole, 3.0), (whole, 1.0)):
        simplex = best + np.vstack([np.zeros(3), size * np.eye(3)])
        options = {"initial_simplex": simplex, "maxfev": 90, "xatol": 0.05, "fatol": 0.005}
        best = optimize.minimize(cost, best, args=(cylinder,), method="Nelder-Mead", options=options).x
    return rough.to_lps(place + best)


def _cylinder(insert: Insert, radius_share: float, length_share: float) -> NDArray[np.float64]:
    half = length_share * (insert.half_length_mm or 0.0)
    disc = disc_points(radius_share * insert.radius_mm, 2.5)
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
