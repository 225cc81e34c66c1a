"""Pedicles are found where they spring from the body, however the column leans and turns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trabecula_models.column_pose import column_pose
from trabecula_models.pedicles import pedicle_distances_mm

VOXEL_MM = 1.5
STEP_MM, HALF_HEIGHT_MM, HALF_DEPTH_MM, HALF_WIDTH_MM = 34.0, 12.0, 15.0, 20.0
Arrays = tuple[NDArray[np.float64], NDArray[np.int16], NDArray[np.bool_]]


def leaning_column(distances_mm: list[float], lean_deg: float, turn_deg: float) -> Arrays:
    """Box bodies with a rod of 8 x 10 mm on either side behind each and laminae behind those, along a line that leans and is turned."""
    grid = np.stack(np.meshgrid(*[np.arange(n) * VOXEL_MM for n in (40 + 24 * len(distances_mm), 90, 90)], indexing="ij"), -1)
    up = np.array([np.cos(np.radians(lean_deg)), np.sin(np.radians(lean_deg)), 0.0])
    straight_back = np.array([0.0, 1.0, 0.0]) - up[1] * up
    straight_back /= np.linalg.norm(straight_back)
    turn = np.radians(turn_deg)
    back = np.cos(turn) * straight_back + np.sin(turn) * np.cross(up, straight_back)
    left = np.cross(up, back)
    middle = np.array([grid.shape[0] * VOXEL_MM / 2, 60.0, 67.0])
    instances, posterior = np.zeros(grid.shape[:3], np.int16), np.zeros(grid.shape[:3], bool)
    centers = []
    for index, distance in enumerate(distances_mm):
        center = middle - (index - (len(distances_mm) - 1) / 2) * STEP_MM * up
        rise, behind, aside = (np.asarray((grid - center) @ axis) for axis in (up, back, left))
        centers.append(center / VOXEL_MM)
        instances[(np.abs(rise) < HALF_HEIGHT_MM) & (np.abs(behind) < HALF_DEPTH_MM) & (np.abs(aside) < HALF_WIDTH_MM)] = index + 1
        root = (np.abs(rise - 6.0) < 5.0) & (behind > HALF_DEPTH_MM) & (behind < HALF_DEPTH_MM + 12.0)
        posterior |= root & (np.abs(np.abs(aside) - distance / 2) < 4.0)
        posterior |= (np.abs(rise) < 11.0) & (np.abs(behind - HALF_DEPTH_MM - 16.0) < 4.0) & (np.abs(aside) < 12.0)
    return np.array(centers), instances, posterior & (instances == 0)


def measured_mm(centers_zyx: NDArray[np.float64], instances: NDArray[np.int16], posterior: NDArray[np.bool_]) -> NDArray[np.float64]:
    """As the product measures it: turned about the column as the arches show."""
    pose = column_pose(centers_zyx[:, ::-1] * VOXEL_MM, np.argwhere(posterior)[:, ::-1] * VOXEL_MM, VOXEL_MM**3)
    return pedicle_distances_mm(centers_zyx, pose.axes, instances, posterior, VOXEL_MM)


@settings(max_examples=15, deadline=None)
@given(
    distances_mm=st.lists(st.floats(18.0, 45.0), min_size=1, max_size=4),
    lean_deg=st.floats(-25.0, 25.0),
    turn_deg=st.floats(-35.0, 35.0),
)
def test_the_distance_of_the_pedicles_is_found_in_any_pose(distances_mm: list[float], lean_deg: float, turn_deg: float) -> None:
    if len(distances_mm) == 1:
        lean_deg = 0.0  # one body alone shows no line to lean along
    found = measured_mm(*leaning_column(distances_mm, lean_deg, turn_deg))
    assert found == pytest.approx(distances_mm, abs=2.0)


def test_a_vertebra_with_one_pedicle_out_of_view_says_nothing_and_its_neighbours_speak() -> None:
    centers, instances, posterior = leaning_column([30.0, 32.0, 34.0], 0.0, 0.0)
    z = round(centers[1][0])
    posterior[z - 10 : z + 10, :, : round(centers[1][2])] = False
    found = measured_mm(centers, instances, posterior)
    assert np.isnan(found).tolist() == [False, True, False]
