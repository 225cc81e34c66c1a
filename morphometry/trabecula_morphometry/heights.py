"""Six points and three heights of a vertebral body on the mid-sagittal plane of its own frame."""

from dataclasses import dataclass

import numpy as np

from trabecula_morphometry.endplates import MARGIN_INSIDE_WALL_MM, EndplateCurve, find_endplate
from trabecula_morphometry.frame import BodyShape
from trabecula_morphometry.vertebra import PointLps, ThreeHeights, Vector, point_lps
from trabecula_morphometry.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class SixPointsLps:
    """Outer edge of the bony endplates at the anterior margin, the middle and the posterior margin; LPS millimetres."""

    anterior_superior: PointLps
    anterior_inferior: PointLps
    middle_superior: PointLps
    middle_inferior: PointLps
    posterior_superior: PointLps
    posterior_inferior: PointLps


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredHeights:
    """Heights of one body with their one-sigma uncertainty and the points they were taken from."""

    heights_mm: ThreeHeights
    heights_sd_mm: ThreeHeights
    points_lps_mm: SixPointsLps
    center_lps_mm: PointLps
    """Middle of the body: mid height between the middle points, mid depth, mid width."""

    wedge_angle_deg: float
    """Angle between the endplates, positive where the front is lower."""


def measure_heights(volume: Volume, shape: BodyShape, *, slice_spacing_mm: float) -> MeasuredHeights | None:
    """Heights of one complete body, None where an endplate cannot be found.

    Parameters
    ----------
    volume : the original CT.
    shape : the body's mask in its frame.
    slice_spacing_mm : distance of the original slices.
    """
    upper = find_endplate(volume, shape, upper=True, slice_spacing_mm=slice_spacing_mm)
    lower = find_endplate(volume, shape, upper=False, slice_spacing_mm=slice_spacing_mm)
    if upper is None or lower is None:
        return None
    tops, bottoms = _three_points(upper), _three_points(lower)
    heights = np.linalg.norm(tops - bottoms, axis=1)
    sd = float(np.hypot(upper.sd_mm, lower.sd_mm))
    top_lps, bottom_lps = shape.frame.to_lps(tops), shape.frame.to_lps(bottoms)
    depth = 0.5 * (tops[2, 1] - tops[0, 1] + bottoms[2, 1] - bottoms[0, 1])
    return MeasuredHeights(
        heights_mm=ThreeHeights.from_array(heights),
        heights_sd_mm=ThreeHeights.from_array(np.array([sd, sd, sd])),
        points_lps_mm=SixPointsLps(
            anterior_superior=point_lps(top_lps[0]),
            anterior_inferior=point_lps(bottom_lps[0]),
            middle_superior=point_lps(top_lps[1]),
            middle_inferior=point_lps(bottom_lps[1]),
            posterior_superior=point_lps(top_lps[2]),
            posterior_inferior=point_lps(bottom_lps[2]),
        ),
        center_lps_mm=point_lps(shape.frame.to_lps(np.array([0.5 * (tops[1, 0] + bottoms[1, 0]), 0.0, 0.0]))),
        wedge_angle_deg=float(np.degrees(np.arctan2(heights[2] - heights[0], depth))),
    )


def _three_points(curve: EndplateCurve) -> Vector:
    """Anterior, middle and posterior point of an endplate in frame coordinates, the left coordinate 0."""
    depths = (
        curve.anterior_wall_mm + MARGIN_INSIDE_WALL_MM,
        0.5 * (curve.anterior_wall_mm + curve.posterior_wall_mm),
        curve.posterior_wall_mm - MARGIN_INSIDE_WALL_MM,
    )
    return np.array([[curve.at(depth), depth, 0.0] for depth in depths])
