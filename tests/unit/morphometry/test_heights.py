"""Endplates, walls and heights of single bodies whose shape is known."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from builders.digital_column import DigitalBody, DigitalColumn, fitted, intact
from trabecula_morphometry.endplates import LIP_MM, EndplateCurve, find_endplate
from trabecula_morphometry.frame import BodyShape
from trabecula_morphometry.heights import measure_heights
from trabecula_morphometry.norms import NORMS
from trabecula_morphometry.volume import Volume

INTACT = intact("L2")
FISH = DigitalBody(name="L2", heights_mm=(26.0, 15.0, 27.0))
"""A fish vertebra: both endplates sink by six millimetres."""

WEDGE = DigitalBody(name="L2", heights_mm=(16.0, 21.0, 26.0))
COLLAPSED_IN_FRONT = DigitalBody(name="L2", heights_mm=(24.0, 13.0, 26.0), lowest_at_mm=-5.0)


@cache
def body(middle: DigitalBody) -> tuple[Volume, BodyShape]:
    return fitted(DigitalColumn(bodies=(intact("L1"), middle, intact("L3"))), "L2")


def front_wall_mm(shape: BodyShape) -> float:
    curve = find_endplate(body(INTACT)[0], shape, upper=True, slice_spacing_mm=1.0)
    assert curve is not None
    return curve.anterior_wall_mm


def with_mask(change: "np.ndarray", shape: BodyShape) -> BodyShape:
    return replace(shape, inside=np.maximum(shape.inside, change.astype(np.float32)))


@pytest.mark.parametrize("which", [INTACT, FISH])
def test_heights_and_their_uncertainty_hold_the_truth(which: DigitalBody) -> None:
    volume, shape = body(which)
    found = measure_heights(volume, shape, slice_spacing_mm=1.0)
    assert found is not None
    errors = np.abs(found.heights_mm.as_array() - which.heights_mm)
    assert errors.max() <= 0.8
    assert (errors <= 2.5 * found.heights_sd_mm.as_array()).all()


def test_the_middle_of_a_body_that_is_lowest_off_centre_can_be_taken_there() -> None:
    volume, shape = body(COLLAPSED_IN_FRONT)
    at_mid_depth = measure_heights(volume, shape, slice_spacing_mm=1.0)
    assert at_mid_depth is not None
    lowest = at_mid_depth.with_lowest_middle()
    true_at_mid_depth = 13.0 + (26.0 - 13.0) * 5.0 / (5.0 + 0.5 * NORMS["L2"].depth_mm - 2.0)
    assert at_mid_depth.heights_mm.middle == pytest.approx(true_at_mid_depth, abs=0.8)
    assert lowest.heights_mm.middle == pytest.approx(13.0, abs=1.0), "rounded by what the slices show"
    points = lowest.points_lps_mm
    assert np.linalg.norm(np.subtract(points.middle_superior, points.middle_inferior)) == pytest.approx(lowest.heights_mm.middle)
    assert at_mid_depth.points_lps_mm.middle_superior[1] - points.middle_superior[1] == pytest.approx(5.0, abs=1.0)
    assert (lowest.heights_mm.anterior, lowest.heights_mm.posterior) == (
        at_mid_depth.heights_mm.anterior,
        at_mid_depth.heights_mm.posterior,
    )
    assert lowest.center_lps_mm == at_mid_depth.center_lps_mm


@pytest.mark.parametrize("which", [INTACT, FISH, WEDGE])
def test_a_body_that_is_as_low_at_mid_depth_keeps_its_middle_there(which: DigitalBody) -> None:
    volume, shape = body(which)
    found = measure_heights(volume, shape, slice_spacing_mm=1.0)
    assert found is not None
    assert found.with_lowest_middle() == found


def test_a_body_lower_in_front_has_a_positive_wedge_angle() -> None:
    volume, shape = body(DigitalBody(name="L2", heights_mm=(22.0, 24.0, 28.0)))
    found = measure_heights(volume, shape, slice_spacing_mm=1.0)
    assert found is not None
    true_deg = np.degrees(np.arctan2(6.0, NORMS["L2"].depth_mm - 4.0))
    assert found.wedge_angle_deg == pytest.approx(true_deg, abs=1.5)


@pytest.mark.parametrize("which", [INTACT, FISH])
def test_the_walls_are_those_of_the_rim(which: DigitalBody) -> None:
    volume, shape = body(which)
    for upper in (True, False):
        curve = find_endplate(volume, shape, upper=upper, slice_spacing_mm=1.0)
        assert curve is not None
        assert curve.posterior_wall_mm - curve.anterior_wall_mm == pytest.approx(NORMS["L2"].depth_mm, abs=1.2)


def test_an_osteophyte_moves_the_wall_by_two_millimetres_at_most() -> None:
    _, shape = body(INTACT)
    up, back, left = np.meshgrid(shape.superior_mm, shape.posterior_mm, shape.left_mm, indexing="ij")
    lip = (up > 6) & (up < 12) & (back > -25) & (back < 0) & (np.abs(left) < 12)
    assert front_wall_mm(with_mask(lip, shape)) == pytest.approx(front_wall_mm(shape) - LIP_MM, abs=0.6)


def test_a_mask_that_runs_to_the_end_of_the_block_keeps_the_waist_as_its_wall() -> None:
    _, shape = body(INTACT)
    up, back, _ = np.meshgrid(shape.superior_mm, shape.posterior_mm, shape.left_mm, indexing="ij")
    leak = (up > 6) & (up < 12) & (back < 0)
    assert front_wall_mm(with_mask(leak, shape)) == pytest.approx(front_wall_mm(shape) - LIP_MM, abs=0.6)


def test_a_mask_with_a_hollow_waist_still_has_walls() -> None:
    _, shape = body(INTACT)
    hollow = shape.inside.copy()
    hollow[np.abs(shape.superior_mm) <= 1] = 0
    assert front_wall_mm(replace(shape, inside=hollow)) == pytest.approx(front_wall_mm(shape), abs=1.0)


def missing_top(shape: BodyShape) -> BodyShape:
    return replace(shape, top_mm=np.full_like(shape.top_mm, np.nan))


def missing_centre(shape: BodyShape) -> BodyShape:
    top = shape.top_mm.copy()
    top[:, np.abs(shape.left_mm) <= 5] = np.nan
    return replace(shape, top_mm=top)


def thin_as_a_plate(shape: BodyShape) -> BodyShape:
    inside = np.where(np.abs(shape.posterior_mm)[:, None] <= 4, shape.inside, 0.0).astype(np.float32)
    return replace(shape, inside=inside)


@pytest.mark.parametrize("broken", [missing_top, missing_centre, thin_as_a_plate])
def test_a_mask_without_an_endplate_to_start_from_gives_no_heights(broken) -> None:
    volume, shape = body(INTACT)
    assert find_endplate(volume, broken(shape), upper=True, slice_spacing_mm=1.0) is None
    assert measure_heights(volume, broken(shape), slice_spacing_mm=1.0) is None


def test_the_height_of_a_curve_between_and_beyond_its_points() -> None:
    curve = EndplateCurve(
        posterior_mm=np.array([-10.0, -9.0, 0.0, 8.0, 9.0, 10.0]),
        superior_mm=np.array([10.0, 11.0, 14.0, 16.0, 17.0, 18.0]),
        anterior_wall_mm=-12.0,
        posterior_wall_mm=12.0,
        fall_hu_per_mm=100.0,
        sd_mm=0.3,
    )
    assert curve.at(9.5) == pytest.approx(17.5), "a line through the window"
    assert curve.at(-9.5) == pytest.approx(10.5), "two points say nothing about the slope"
    assert curve.at(4.0) == pytest.approx(15.0), "no point near: between its neighbours"
    assert curve.at(20.0) == 18.0
