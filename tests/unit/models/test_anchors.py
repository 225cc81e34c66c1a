"""What the names are counted from is read off the outlines: which bodies bear ribs, and how long the last ones are."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trabecula_models.anchors import (
    RibLength,
    drop_sacral_bodies,
    last_rib_length,
    rib_mask,
    rib_pair_probability,
    rib_probability,
    transverse_reach_mm,
)
from trabecula_models.bodies import ClassMaps
from trabecula_models.column import BodyCandidate
from trabecula_models.column_pose import column_pose
from trabecula_morphometry.volume import Grid, Volume, analysis_grid

VOXEL_MM = 1.5
LOW, HIGH = np.array([-75.0, -40.0, -80.0]), np.array([75.0, 75.0, 60.0])
UPPER_CENTER, LOWER_CENTER = np.array([0.0, 0.0, 0.0]), np.array([0.0, 0.0, -33.0])
HEAD_OFFSET_MM = np.array([18.0, 8.0, 0.0])
DOWNWARDS = np.array([0.75, 0.35, -0.56])
NO_ARCHES = np.zeros((0, 3))
POSE = column_pose(np.stack([UPPER_CENTER, LOWER_CENTER]), NO_ARCHES, 1.0)


def rods(lengths_mm: tuple[float, float], gap_mm: float = 0.0) -> tuple[ClassMaps, Grid]:
    """A view with a rib of the given lengths at the right and left of the upper body, thin and with a gap in the middle where asked."""
    grid = analysis_grid(LOW, HIGH, VOXEL_MM)
    z, y, x = np.meshgrid(*[np.arange(n) for n in grid.shape_zyx], indexing="ij")
    points = grid.to_lps(np.stack([x, y, z], -1).reshape(-1, 3))
    rib: NDArray[np.float32] = np.zeros(len(points), dtype=np.float32)
    for side, length in zip((-1.0, 1.0), lengths_mm, strict=True):
        mirror = np.array([side, 1.0, 1.0])
        head, along = UPPER_CENTER + HEAD_OFFSET_MM * mirror, DOWNWARDS / np.linalg.norm(DOWNWARDS) * mirror
        run = (points - head) @ along
        beside = np.linalg.norm(points - head - run[:, None] * along, axis=1) < 4.5
        rib[beside & (run >= 0) & (run <= length) & (np.abs(run - length / 2) >= gap_mm / 2)] = 0.9
    shaped = rib.reshape(grid.shape_zyx)
    nothing = np.zeros_like(shaped)
    return ClassMaps(body=nothing, posterior=nothing, disc=nothing, sacrum=nothing, rib=shaped, pelvis=nothing, heat=nothing), grid


def bodies() -> list[BodyCandidate]:
    return [BodyCandidate(voxel_zyx=(0, 0, 0), center_lps_mm=center, heat=1.0) for center in (UPPER_CENTER, LOWER_CENTER)]


def last_rib(maps: ClassMaps, grid: Grid, *, slice_spacing_mm: float = 1.0, field_radius_mm: float = 1000.0) -> RibLength:
    """The last rib as it is followed in a scan of soft tissue, with padding outside a round field."""
    count = int((HIGH - LOW)[2] / slice_spacing_mm) + 1
    scanned = Grid(shape_zyx=(count, 116, 151), voxel_to_lps=np.diag([1.0, 1.0, slice_spacing_mm, 1.0]))
    scanned.voxel_to_lps[:3, 3] = LOW
    y, x = np.meshgrid(np.arange(116) + LOW[1], np.arange(151) + LOW[0], indexing="ij")
    plane = np.where(np.hypot(y, x) < field_radius_mm, 40, -1024).astype(np.int16)
    volume = Volume(hu_zyx=np.repeat(plane[None], count, axis=0), grid=scanned)
    return last_rib_length(POSE, rib_probability(POSE, maps.rib > 0.5, grid, LOW, HIGH), maps, grid, volume)


def test_a_body_bears_the_rib_beside_it_and_the_next_one_does_not() -> None:
    maps, grid = rods((60.0, 60.0))
    upper, lower = rib_probability(POSE, maps.rib > 0.5, grid, LOW, HIGH)
    assert upper > 0.9
    assert lower < 0.1


@pytest.mark.parametrize(
    ("lengths_mm", "one", "two"),
    [((60.0, 60.0), True, True), ((60.0, 0.0), True, False), ((0.0, 60.0), True, False), ((0.0, 0.0), False, False)],
)
def test_one_rib_is_enough_to_bear_and_a_pair_needs_both_sides(lengths_mm: tuple[float, float], one: bool, two: bool) -> None:
    maps, grid = rods(lengths_mm)
    assert (rib_probability(POSE, maps.rib > 0.5, grid, LOW, HIGH)[0] > 0.9) == one
    assert (rib_pair_probability(POSE, maps.rib > 0.5, grid, LOW, HIGH)[0] > 0.9) == two


def test_where_one_side_is_out_of_view_no_pair_is_seen() -> None:
    maps, grid = rods((60.0, 60.0))
    one_side = np.array([20.0, 75.0, 60.0])
    assert rib_probability(POSE, maps.rib > 0.5, grid, LOW, one_side)[0] > 0.9
    assert rib_pair_probability(POSE, maps.rib > 0.5, grid, LOW, one_side)[0] == 0.0


@pytest.mark.parametrize("lean_deg", [-40.0, -20.0, 15.0])
def test_ribs_are_looked_for_along_a_column_that_leans_as_it_does_at_the_top_of_a_chest(lean_deg: float) -> None:
    grid = analysis_grid(LOW, HIGH, VOXEL_MM)
    lean = np.radians(lean_deg)
    up, back = np.array([0.0, np.sin(lean), np.cos(lean)]), np.array([0.0, np.cos(lean), -np.sin(lean)])
    centers = [index * -22.0 * up for index in (0, 1)]
    leaning = column_pose(np.array(centers), NO_ARCHES, 1.0)
    heads = [centers[0] + [side * 20.0, 0.0, 0.0] + 16.0 * back + 8.0 * up for side in (-1, 1)]
    voxels = np.indices(grid.shape_zyx).reshape(3, -1)[::-1].T
    away = np.min([np.linalg.norm(grid.to_lps(voxels) - head, axis=1) for head in heads], axis=0)
    upper, lower = rib_probability(leaning, (away < 5.0).reshape(grid.shape_zyx), grid, LOW, HIGH)
    assert (upper > 0.9, lower < 0.1) == (True, True)


@pytest.mark.parametrize("lengths_mm", [(25.0, 38.0), (55.0, 20.0)])
def test_the_longer_rib_is_measured_from_head_to_tip(lengths_mm: tuple[float, float]) -> None:
    maps, grid = rods(lengths_mm)
    found = last_rib(maps, grid)
    assert (found.length_mm, found.whole) == (pytest.approx(max(lengths_mm), abs=6.0), True)
    assert found.shortest_whole_mm == pytest.approx(min(lengths_mm), abs=6.0)


def test_a_rib_in_crumbs_is_one_rib() -> None:
    maps, grid = rods((60.0, 0.0), gap_mm=5.0)
    assert last_rib(maps, grid).length_mm == pytest.approx(60.0, abs=6.0)


def test_a_rib_that_leaves_the_view_is_at_least_as_long_as_it_is_seen() -> None:
    maps, grid = rods((120.0, 0.0))
    found = last_rib(maps, grid)
    assert not found.whole
    assert 60.0 < found.length_mm < 120.0


def test_a_rib_that_ends_at_the_padding_of_a_round_field_is_not_whole() -> None:
    maps, grid = rods((50.0, 0.0))
    assert last_rib(maps, grid).whole
    assert not last_rib(maps, grid, field_radius_mm=63.0).whole


def test_under_the_top_of_the_image_a_rib_that_is_seen_counts_and_one_that_is_not_may_be_cut() -> None:
    just_above = np.array([75.0, 75.0, 10.0])
    (bare, grid), (ribbed, _) = rods((0.0, 0.0)), rods((60.0, 60.0))
    assert rib_probability(POSE, bare.rib > 0.5, grid, LOW, HIGH)[0] < 0.1
    assert np.isnan(rib_probability(POSE, bare.rib > 0.5, grid, LOW, just_above)[0])
    assert rib_probability(POSE, ribbed.rib > 0.5, grid, LOW, just_above)[0] > 0.9


@pytest.mark.parametrize(("seen", "hu", "bears"), [(0.6, 60.0, False), (0.6, 200.0, True), (0.9, 60.0, True), (0.4, 200.0, False)])
def test_what_is_no_brighter_than_muscle_is_a_rib_only_where_the_network_is_sure_as_in_soft_bones(
    seen: float, hu: float, bears: bool
) -> None:
    maps, grid = rods((60.0, 60.0))
    ribs = rib_mask(replace(maps, rib=np.where(maps.rib > 0, np.float32(seen), np.float32(0))), np.full(grid.shape_zyx, hu, np.float32))
    assert (rib_probability(POSE, ribs, grid, LOW, HIGH)[0] > 0.9) == bears


@pytest.mark.parametrize("lean_deg", [-45.0, -20.0, 0.0, 20.0])
@given(crumbs=st.lists(st.tuples(*[st.floats(-34.0, 34.0)] * 3), min_size=1, max_size=12))
def test_the_last_rib_is_measured_wherever_its_crumbs_lie_beside_a_leaning_body(
    lean_deg: float, crumbs: list[tuple[float, float, float]]
) -> None:
    grid = analysis_grid(LOW, HIGH, VOXEL_MM)
    lean = np.radians(lean_deg)
    up = np.array([0.0, np.sin(lean), np.cos(lean)])
    leaning = column_pose(np.stack([UPPER_CENTER, -33.0 * up]), NO_ARCHES, 1.0)
    rib = np.zeros(grid.shape_zyx, np.float32)
    for voxel in np.rint(grid.to_voxel(np.array(crumbs))).astype(int):
        rib[tuple(voxel[::-1])] = 0.9
    nothing = np.zeros_like(rib)
    maps = ClassMaps(body=nothing, posterior=nothing, disc=nothing, sacrum=nothing, rib=rib, pelvis=nothing, heat=nothing)
    volume = Volume(hu_zyx=np.zeros(grid.shape_zyx, np.int16), grid=grid)
    found = last_rib_length(leaning, np.array([0.9, 0.04]), maps, grid, volume)
    assert 0.0 <= found.length_mm < 150.0


def test_without_ribs_there_is_no_length() -> None:
    maps, grid = rods((0.0, 0.0))
    assert np.isnan(last_rib(maps, grid).length_mm)


def test_a_rib_in_slices_of_8_mm_is_not_measured() -> None:
    maps, grid = rods((30.0, 30.0))
    assert np.isnan(last_rib(maps, grid, slice_spacing_mm=8.0).length_mm)


def processes(reach_mm: tuple[float, float], *, tilt_deg: float = 0.0, crumb: bool = False) -> tuple[ClassMaps, Grid]:
    """A view with transverse processes of the given reaches at the right and left of the upper body, and none at the lower one."""
    grid = analysis_grid(LOW, HIGH, VOXEL_MM)
    z, y, x = np.meshgrid(*[np.arange(n) for n in grid.shape_zyx], indexing="ij")
    away = grid.to_lps(np.stack([x, y, z], -1).reshape(-1, 3)) - UPPER_CENTER
    tilt = np.deg2rad(tilt_deg)
    aside, rise = np.cos(tilt) * away[:, 0] + np.sin(tilt) * away[:, 2], np.cos(tilt) * away[:, 2] - np.sin(tilt) * away[:, 0]
    bar = (np.abs(rise - 3.0) < 5.0) & (np.abs(away[:, 1] - 28.0) < 5.0) & (aside > -reach_mm[0]) & (aside < reach_mm[1])
    if crumb:
        bar |= np.linalg.norm(away - [52.0, 25.0, 0.0], axis=1) < 1.4
    shaped = np.where(bar, np.float32(0.8), np.float32(0)).reshape(grid.shape_zyx)
    nothing = np.zeros_like(shaped)
    return ClassMaps(body=nothing, posterior=shaped, disc=nothing, sacrum=nothing, rib=nothing, pelvis=nothing, heat=nothing), grid


@pytest.mark.parametrize("tilt_deg", [0.0, 8.0, -8.0])
@pytest.mark.parametrize("reach_mm", [(23.0, 23.0), (36.0, 36.0), (20.0, 40.0)])
def test_the_longer_transverse_process_is_measured_from_the_middle_of_its_body(reach_mm: tuple[float, float], tilt_deg: float) -> None:
    upper, lower = transverse_reach_mm(POSE, *processes(reach_mm, tilt_deg=tilt_deg), LOW, HIGH)
    assert upper == pytest.approx(max(reach_mm), abs=2.5)
    assert np.isnan(lower)


def test_a_crumb_beside_a_process_is_no_part_of_it() -> None:
    assert transverse_reach_mm(POSE, *processes((30.0, 30.0), crumb=True), LOW, HIGH)[0] == pytest.approx(30.0, abs=2.5)


def test_a_process_that_may_be_cut_by_the_view_is_not_measured() -> None:
    maps, grid = processes((36.0, 36.0))
    narrow = np.array([35.0, 75.0, 60.0])
    assert np.isnan(transverse_reach_mm(POSE, maps, grid, LOW * [0.45, 1.0, 1.0], narrow)).all()
    assert transverse_reach_mm(POSE, maps, grid, LOW, narrow)[0] == pytest.approx(36.0, abs=2.5)
    assert np.isnan(transverse_reach_mm(POSE, maps, grid, LOW, np.array([75.0, 75.0, 12.0]))[0])


def test_the_wing_of_a_tilted_sacrum_above_l5_does_not_take_it_away_and_s1_is_no_lumbar_body() -> None:
    grid = analysis_grid(LOW, HIGH, VOXEL_MM)
    z, y, x = np.meshgrid(*[np.arange(n) for n in grid.shape_zyx], indexing="ij")
    points = grid.to_lps(np.stack([x, y, z], -1).reshape(-1, 3)).reshape(*grid.shape_zyx, 3)
    # Below L5 at z = -33 mm; at the right side (x < -30 mm) it reaches 10 mm above its centre.
    sacrum = (points[..., 2] < np.where(points[..., 0] < -30, -23, -53)) & (np.abs(points[..., 1]) < 25)
    first_sacral = BodyCandidate(voxel_zyx=(0, 0, 0), center_lps_mm=np.array([0.0, 0.0, -65.0]), heat=1.0)
    lumbar = bodies()
    assert drop_sacral_bodies([*lumbar, first_sacral], sacrum, grid) == lumbar
