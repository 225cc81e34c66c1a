"""Where up, back and left are is read off the column itself: people lie on one hip, and scoliosis turns each vertebra its own way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trabecula_models.column_pose import ColumnPose, column_pose, upright_axes

STEP_MM = 25.0
VOXEL_MM = 2.0
Points = NDArray[np.float64]


def centers(count: int, lean_deg: float = 0.0) -> Points:
    down = np.array([0.0, -np.sin(np.radians(lean_deg)), -np.cos(np.radians(lean_deg))])
    return np.arange(count)[:, None] * STEP_MM * down


def arch(axes: Points, *, left_process: bool = True) -> Points:
    """Voxels of an arch as seen from the body's centre: laminae and spinous process in the middle, processes aside."""
    lattice = np.stack(np.meshgrid(*[np.arange(-60.0, 61.0, VOXEL_MM)] * 3, indexing="ij"), -1).reshape(-1, 3)
    rise, behind, aside = axes @ lattice.T
    level = np.abs(rise) < 8
    bone = level & (np.abs(behind - 26) < 4) & (np.abs(aside) < 14)
    bone |= level & (behind > 26) & (behind < 50) & (np.abs(aside) < 4)
    bone |= level & (np.abs(behind - 24) < 4) & (aside > -40) & (aside < (40 if left_process else 0))
    return np.asarray(lattice[bone])


def turned(upright: Points, degrees: float) -> Points:
    up, back, left = upright
    angle = np.radians(degrees)
    return np.stack([up, np.cos(angle) * back + np.sin(angle) * left, np.cos(angle) * left - np.sin(angle) * back])


def posed(turns_deg: list[float], lean_deg: float = 0.0, **kept: bool) -> ColumnPose:
    column = centers(len(turns_deg), lean_deg)
    seen = [center + arch(turned(axes, turn), **kept) for center, axes, turn in zip(column, upright_axes(column), turns_deg, strict=True)]
    return column_pose(column, np.concatenate(seen), VOXEL_MM**3)


def turns_deg(pose: ColumnPose) -> Points:
    upright = upright_axes(pose.centers_lps_mm)
    away = [
        np.degrees(np.arctan2(turned[1] @ straight[2], turned[1] @ straight[1]))
        for turned, straight in zip(pose.axes, upright, strict=True)
    ]
    return np.array(away)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 8), turn_deg=st.floats(-40.0, 40.0), lean_deg=st.floats(-30.0, 30.0))
def test_a_person_on_one_hip_is_seen_to_be_turned(count: int, turn_deg: float, lean_deg: float) -> None:
    lean_deg = lean_deg if count > 1 else 0.0
    pose = posed([turn_deg] * count, lean_deg)
    assert turns_deg(pose) == pytest.approx([turn_deg] * count, abs=4.0)
    assert pose.axes @ pose.axes.transpose(0, 2, 1) == pytest.approx(np.repeat(np.eye(3)[None], count, axis=0), abs=1e-9)
    assert np.linalg.det(pose.axes) == pytest.approx(np.linalg.det(upright_axes(pose.centers_lps_mm)))


def test_a_twisted_column_is_followed_and_one_bent_arch_is_not() -> None:
    twisted = [4.0 * index for index in range(8)]
    assert turns_deg(posed(twisted))[2:-2] == pytest.approx(twisted[2:-2], abs=4.0)
    bent = [0.0, 0.0, 0.0, 35.0, 0.0, 0.0, 0.0]
    assert turns_deg(posed(bent)) == pytest.approx([0.0] * 7, abs=4.0)


def test_a_process_out_of_view_on_one_side_does_not_turn_the_column() -> None:
    assert turns_deg(posed([12.0] * 6, left_process=False)) == pytest.approx([12.0] * 6, abs=5.0)


def test_without_arches_the_column_is_not_turned() -> None:
    pose = column_pose(centers(4, 15.0), np.zeros((0, 3)), VOXEL_MM**3)
    assert np.array_equal(pose.axes, upright_axes(centers(4, 15.0)))
    crumb = column_pose(centers(4), np.array([[20.0, 20.0, 0.0]]), VOXEL_MM**3)
    assert np.array_equal(crumb.axes, upright_axes(centers(4)))


def test_what_lies_behind_and_to_the_left_of_a_turned_body_is_seen_so() -> None:
    pose = posed([30.0] * 6)
    points = pose.centers_lps_mm[3] + np.array([10.0, 20.0, 30.0]) @ turned(upright_axes(pose.centers_lps_mm)[3], 30.0)
    assert pose.seen_from(3, points[None])[:, 0] == pytest.approx([10.0, 20.0, 30.0], abs=2.0)
