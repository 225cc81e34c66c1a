import numpy as np
import pytest

from trabecula_morphometry.genant import (
    FractureType,
    HeightLoss,
    certain_enough,
    fracture_type,
    genant_grade,
    height_loss,
    summarise,
)
from trabecula_morphometry.levels import SDI_LEVELS
from trabecula_morphometry.vertebra import ThreeHeights


def loss(anterior: float, middle: float, posterior: float, sd: float = 0.01) -> HeightLoss:
    positions = ThreeHeights(anterior=anterior, middle=middle, posterior=posterior)
    return HeightLoss(positions=positions, max=max(anterior, middle, posterior), max_sd=sd)


@pytest.mark.parametrize(
    ("anterior", "grade"),
    [(0.199, 0), (0.2, 1), (0.201, 1), (0.249, 1), (0.25, 2), (0.251, 2), (0.399, 2), (0.4, 3), (0.401, 3), (-0.1, 0)],
)
def test_grade_limits_are_20_25_and_40_percent_and_a_limit_takes_the_higher_grade(anterior: float, grade: int) -> None:
    assert genant_grade(loss(anterior, 0.0, 0.0)).grade == grade


def test_grade_of_a_limit_survives_floating_point() -> None:
    found = height_loss(np.array([20.0, 25.0, 25.0]), np.full(3, 0.3), np.full(3, 25.0), np.full(3, 0.02))
    assert found.max == pytest.approx(0.2)
    assert genant_grade(found).grade == 1


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ((0.30, 0.15, 0.02), FractureType.WEDGE),
        ((0.10, 0.30, 0.08), FractureType.BICONCAVE),
        ((0.10, 0.10, 0.30), FractureType.CRUSH),
        ((0.30, 0.31, 0.28), FractureType.CRUSH),
        ((0.37, 0.48, 0.18), FractureType.BICONCAVE),
        ((0.30, 0.31, 0.05), FractureType.WEDGE),
    ],
)
def test_type_follows_the_leading_loss(positions: tuple[float, float, float], expected: FractureType) -> None:
    assert fracture_type(ThreeHeights.from_array(np.array(positions))) is expected


def test_an_intact_body_has_no_type() -> None:
    assert genant_grade(loss(0.1, 0.05, 0.0)).type is None


def test_probabilities_sum_to_one_and_follow_the_loss() -> None:
    near, far = genant_grade(loss(0.26, 0.0, 0.0, sd=0.05)), genant_grade(loss(0.5, 0.0, 0.0, sd=0.02))
    assert sum(near.probability) == pytest.approx(1.0)
    assert near.probability[2] < 0.7
    assert far.probability[3] > 0.999


def test_borderline_within_two_points_of_a_limit() -> None:
    assert genant_grade(loss(0.235, 0.0, 0.0)).borderline
    assert not genant_grade(loss(0.32, 0.0, 0.0)).borderline


def test_thick_slices_need_a_clear_side_of_the_headline() -> None:
    assert certain_enough(genant_grade(loss(0.05, 0, 0, sd=0.08)), 0.85)
    assert not certain_enough(genant_grade(loss(0.23, 0, 0, sd=0.08)), 0.85)
    assert not certain_enough(genant_grade(loss(0.27, 0, 0, sd=0.08)), 0.85)
    assert certain_enough(genant_grade(loss(0.45, 0, 0, sd=0.08)), 0.85)


def test_summary_counts_the_index_over_t4_to_l4_only() -> None:
    grades: dict[str, int | None] = {"T3": 3, "T12": 2, "L1": 1, "L5": 2, "L2": None}
    found = summarise(grades, list(grades))
    assert (found.max_grade, found.levels, found.headline) == (3, ("T3", "T12", "L1", "L5"), True)
    assert (found.spinal_deformity_index, found.spinal_deformity_index_complete) == (3, False)


def test_summary_is_complete_with_all_thirteen_levels() -> None:
    found = summarise(dict.fromkeys(SDI_LEVELS, 0), SDI_LEVELS)
    assert (found.spinal_deformity_index, found.spinal_deformity_index_complete, found.headline) == (0, True, False)


def test_summary_without_grades_says_nothing() -> None:
    found = summarise({"L1": None}, ["L1"])
    assert (found.max_grade, found.spinal_deformity_index, found.headline) == (None, None, False)
