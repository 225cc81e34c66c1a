"""Where a phantom lies in a scan: a frame in LPS millimetres, and points of its inserts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trabecula_calibration.phantom_definition import Insert, PhantomDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomPose:
    """Place and direction of a phantom.

    Parameters
    ----------
    origin_lps_mm : its middle.
    angle_deg : turn about the table's long axis; 0 = across runs to the patient's left, down to posterior.
    lean_x, lean_y : how far its long axis moves left and posterior per millimetre towards superior (0.087 = 5 degrees).
    turned : whether it lies end for end (across and along both reversed).
    scale : distances between inserts against the definition's; 1 for a certified geometry.
    """

    origin_lps_mm: tuple[float, float, float]
    angle_deg: float = 0.0
    lean_x: float = 0.0
    lean_y: float = 0.0
    turned: bool = False
    scale: float = 1.0

    @property
    def axes(self) -> NDArray[np.float64]:
        """Unit vectors across, down and along as rows, LPS."""
        along = np.array([self.lean_x, self.lean_y, 1.0])
        along /= np.linalg.norm(along)
        angle = np.deg2rad(self.angle_deg)
        across = np.array([np.cos(angle), np.sin(angle), 0.0])
        across -= (across @ along) * along
        across /= np.linalg.norm(across)
        # Written out, because numpy's cross product is slow and this is called for every trial pose.
        down = np.array(
            [
                along[1] * across[2] - along[2] * across[1],
                along[2] * across[0] - along[0] * across[2],
                along[0] * across[1] - along[1] * across[0],
            ]
        )
        sign = -1.0 if self.turned else 1.0
        return np.stack([sign * across, down, sign * along])

    @property
    def tilt_deg(self) -> float:
        """Angle between the phantom's long axis and the table's."""
        return float(np.degrees(np.arctan(np.hypot(self.lean_x, self.lean_y))))

    def to_lps(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (..., 3) as (across, down, along) millimetres of the scan to LPS; no scale is applied."""
        result: NDArray[np.float64] = points_mm @ self.axes + np.asarray(self.origin_lps_mm)
        return result

    def insert_center(self, insert: Insert) -> NDArray[np.float64]:
        """Middle of an insert in the phantom's frame, scaled."""
        return np.asarray(insert.center_mm) * self.scale


def disc_points(radius_mm: float, step_mm: float = 1.0, inner_mm: float = 0.0) -> NDArray[np.float64]:
    """Points (n, 2) of a disc or ring on a square grid."""
    reach = np.arange(-np.ceil(radius_mm / step_mm), np.ceil(radius_mm / step_mm) + 1) * step_mm
    grid = np.stack(np.meshgrid(reach, reach, indexing="ij"), axis=-1).reshape(-1, 2)
    distance = np.hypot(grid[:, 0], grid[:, 1])
    points: NDArray[np.float64] = grid[(distance <= radius_mm) & (distance >= inner_mm)]
    return points


def insert_points(pose: PhantomPose, insert: Insert, plane_mm: NDArray[np.float64], along_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """LPS points (stations, n, 3): a pattern (n, 2) around an insert's middle, repeated at ``along_mm`` of the phantom's frame."""
    center = pose.insert_center(insert)
    points = np.empty((len(along_mm), len(plane_mm), 3))
    points[..., :2] = plane_mm + center[:2]
    points[..., 2] = along_mm[:, None]
    return pose.to_lps(points)


def stations_of(definition: PhantomDefinition, pose: PhantomPose, insert: Insert, reach_mm: tuple[float, float]) -> NDArray[np.float64]:
    """Places along the phantom at which an insert is read, 2 mm apart: the found length, or the insert's own part of it."""
    if insert.half_length_mm is None:
        low, high = reach_mm
    else:
        middle, half = insert.center_mm[2] * pose.scale, insert.half_length_mm * 0.5
        low, high = middle - half, middle + half
    return np.arange(low, high + 1e-6, 2.0) if high - low >= 2.0 else np.array([0.5 * (low + high)])
