"""Shapes that only look like fractures are told by their pattern."""

import pytest

from trabecula_morphometry.deformity import LevelShape, deformed_levels
from trabecula_morphometry.genant import HeightLoss
from trabecula_morphometry.vertebra import ThreeHeights


def level(name: str, anterior: float, middle: float, posterior: float, wedge_deg: float = 0.0) -> LevelShape:
    positions = ThreeHeights(anterior=anterior, middle=middle, posterior=posterior)
    return LevelShape(
        name=name, wedge_angle_deg=wedge_deg, loss=HeightLoss(positions=positions, max=max(anterior, middle, posterior), max_sd=0.03)
    )


def wedged(name: str, anterior: float = 0.21) -> LevelShape:
    return level(name, anterior, 0.1, 0.0, wedge_deg=6.0)


def even(name: str, loss: float = 0.21) -> LevelShape:
    return level(name, loss, loss - 0.02, loss - 0.03)


def test_three_adjacent_wedged_bodies_are_a_scheuermann_pattern() -> None:
    found = deformed_levels([level("T6", 0.0, 0.0, 0.0), wedged("T7"), wedged("T8"), wedged("T9")])
    assert list(found) == ["T7", "T8", "T9"]
    assert "Scheuermann" in found["T7"]


def test_two_adjacent_wedged_bodies_are_no_pattern() -> None:
    assert deformed_levels([wedged("T7"), wedged("T8"), level("T9", 0.0, 0.0, 0.0)]) == {}


def test_within_a_pattern_only_mild_losses_are_explained() -> None:
    assert list(deformed_levels([wedged("T7", 0.1), wedged("T8"), wedged("T9", 0.15)])) == ["T8"]


@pytest.mark.parametrize(
    "other", [wedged("L2"), level("T9", 0.18, 0.22, 0.0, 6.0), wedged("T9", 0.3), LevelShape(name="T9", wedge_angle_deg=9.0, loss=None)]
)
def test_a_lumbar_a_central_a_moderate_and_an_unknown_loss_break_the_row(other: LevelShape) -> None:
    assert deformed_levels([wedged("T7"), wedged("T8"), other]) == {}


def test_adjacent_evenly_short_bodies_are_short_vertebral_height() -> None:
    found = deformed_levels([even("T7"), even("T8"), even("T9", 0.0)])
    assert list(found) == ["T7", "T8"]
    assert "short" in found["T7"]


def test_one_evenly_short_body_and_an_uneven_loss_are_no_pattern() -> None:
    assert deformed_levels([even("T7"), even("T8", 0.0)]) == {}
    assert deformed_levels([even("T7"), level("T8", 0.22, 0.1, 0.0)]) == {}


def test_a_severe_loss_is_never_explained_away() -> None:
    assert deformed_levels([even("T7", 0.45), even("T8", 0.45)]) == {}
