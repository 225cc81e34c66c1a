"""Six points and three heights of a vertebral body on the mid-sagittal plane of its own frame."""

from dataclasses import dataclass, replace

import numpy as np

from trabecula_morphometry.endplates import MARGIN_INSIDE_WALL_MM, EndplateCurve, find_endplate
from trabecula_morphometry.frame import BodyShape
from trabecula_morphometry.vertebra import PointLps, ThreeHeights, Vector, point_lps
from trabecula_morphometry.volume import Volume

MIDDLE_THIRD = np.linspace(1 / 3, 2 / 3, 13)
"""Places between the front wall (0) and the back wall (1) where the middle of a collapsed body may lie; 13 are a millimetre apart."""

CERTAINLY_LOWER_SD = 2.0
"""The middle leaves mid depth only for a place that is lower by this many standard deviations of a height."""


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
class LowestMiddle:
    """Height and points of the lowest place in the middle third of a body."""

    height_mm: float
    superior_lps_mm: PointLps
    inferior_lps_mm: PointLps


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

    lowest_middle: LowestMiddle | None = None
    """Where the middle third is certainly lower than at mid depth; None where it is not."""

    def with_lowest_middle(self) -> "MeasuredHeights":
        """The heights of a collapsed body: its middle is the lowest place of the middle third (docs/adr/0024)."""
        lowest = self.lowest_middle
        if lowest is None:
            return self
        points = replace(self.points_lps_mm, middle_superior=lowest.superior_lps_mm, middle_inferior=lowest.inferior_lps_mm)
        return replace(self, heights_mm=replace(self.heights_mm, middle=lowest.height_mm), points_lps_mm=points, lowest_middle=None)


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
    lowest = _lowest_middle(upper, lower, heights, CERTAINLY_LOWER_SD * sd)
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
        lowest_middle=LowestMiddle(
            height_mm=float(np.linalg.norm(lowest[0] - lowest[1])),
            superior_lps_mm=point_lps(shape.frame.to_lps(lowest[0])),
            inferior_lps_mm=point_lps(shape.frame.to_lps(lowest[1])),
        )
        if lowest is not None
        else None,
    )


def _three_points(curve: EndplateCurve) -> Vector:
    """Anterior, middle and posterior point of an endplate in frame coordinates, the left coordinate 0."""
    depths = (
        curve.anterior_wall_mm + MARGIN_INSIDE_WALL_MM,
        0.5 * (curve.anterior_wall_mm + curve.posterior_wall_mm),
        curve.posterior_wall_mm - MARGIN_INSIDE_WALL_MM,
    )
    return np.array([[curve.at(depth), depth, 0.0] for depth in depths])


def _lowest_middle(upper: EndplateCurve, lower: EndplateCurve, heights_mm: Vector, certain_mm: float) -> tuple[Vector, Vector] | None:
    """Upper and lower frame point of the lowest place of the middle third; None where mid depth is as low within ``certain_mm``.

    Low is what lies below the straight course from the front height to the back one, so that a plain wedge is lowest nowhere.
    """
    straight = heights_mm[0] + (heights_mm[2] - heights_mm[0]) * MIDDLE_THIRD
    tops, bottoms = _middle_points(upper), _middle_points(lower)
    own = np.linalg.norm(tops - bottoms, axis=1)
    lowest = int(np.argmin(own / straight))
    as_at_mid_depth = heights_mm[1] * straight[lowest] / float(np.mean(heights_mm[[0, 2]]))
    return (tops[lowest], bottoms[lowest]) if as_at_mid_depth - own[lowest] > certain_mm else None


def _middle_points(curve: EndplateCurve) -> Vector:
    """Points of an endplate over its middle third in frame coordinates."""
    depths = curve.anterior_wall_mm + MIDDLE_THIRD * (curve.posterior_wall_mm - curve.anterior_wall_mm)
    return np.array([[curve.at(depth), depth, 0.0] for depth in depths])
