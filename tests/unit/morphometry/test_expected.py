import numpy as np
import pytest

from trabecula_morphometry.expected import INTACT_LOSS, LevelHeights, expected_heights
from trabecula_morphometry.norms import normal_heights_mm

LEVELS = ("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4")


def column(losses: dict[str, tuple[float, float, float]], scale: float = 1.0) -> list[LevelHeights]:
    out = []
    for name in LEVELS:
        heights = scale * normal_heights_mm(name) * (1 - np.array(losses.get(name, (0, 0, 0))))
        out.append(LevelHeights(name=name, heights_mm=(heights[0], heights[1], heights[2]), sd_mm=(0.4, 0.4, 0.4)))
    return out


def losses_found(levels: list[LevelHeights]) -> dict[str, np.ndarray]:
    expected = expected_heights(levels)
    return {lv.name: 1 - np.array(lv.heights_mm) / e.heights_mm for lv in levels if (e := expected[lv.name]) is not None}


@pytest.mark.parametrize("scale", [0.85, 1.0, 1.15])
def test_normal_wedging_is_no_loss_in_small_and_large_people(scale: float) -> None:
    for name, found in losses_found(column({}, scale)).items():
        assert np.abs(found).max() < 0.005, name


@pytest.mark.parametrize("pattern", [(0.3, 0.1, 0.0), (0.1, 0.35, 0.05), (0.3, 0.3, 0.3)])
def test_single_fracture_is_measured_against_its_neighbours(pattern: tuple[float, float, float]) -> None:
    found = losses_found(column({"L1": pattern}))
    assert found["L1"] == pytest.approx(np.array(pattern), abs=0.03)
    assert max(np.abs(loss).max() for name, loss in found.items() if name != "L1") < 0.02


def test_several_fractures_in_a_row_do_not_hide_each_other() -> None:
    pattern = dict.fromkeys(("T11", "T12", "L1", "L2"), (0.3, 0.35, 0.05))
    found = losses_found(column(pattern))
    assert all(found[name].max() > 0.30 for name in pattern)
    assert all(found[name].max() < 0.05 for name in ("T9", "T10", "L3", "L4"))


def test_no_neighbour_means_no_expectation() -> None:
    lone = [level for level in column({}) if level.name == "L1"]
    assert expected_heights(lone) == {"L1": None}


def test_neighbours_further_than_three_levels_do_not_count() -> None:
    pair = [level for level in column({}) if level.name in ("T9", "L2")]
    assert expected_heights(pair) == {"T9": None, "L2": None}


def test_uncertainty_grows_with_fewer_references() -> None:
    full = expected_heights(column({}))["L1"]
    pair = expected_heights([level for level in column({}) if level.name in ("L1", "L3")])["L1"]
    assert full is not None
    assert pair is not None
    assert (pair.relative_sd > full.relative_sd).all()


def test_no_levels_give_no_expectation() -> None:
    assert expected_heights([]) == {}


def test_a_witness_has_lost_less_than_a_level_may_that_is_called_intact() -> None:
    # Two levels of this column would change sides for ever: each is intact only while the other is not.
    losses = {"T9": (0.16, 0.3, 0.2), "T10": (0.2, 0.13, 0.3), "T11": (0.0, 0.16, 0.2), "T12": (0.3, 0.16, 0.13)}
    losses |= {"L1": (0.1, 0.13, 0.13), "L2": (0.2, 0.3, 0.0), "L3": (0.3, 0.16, 0.13), "L4": (0.2, 0.16, 0.1)}
    levels = column(losses)
    found, expected = losses_found(levels), expected_heights(levels)
    witnesses = {name for entry in expected.values() if entry is not None for name in entry.references}
    assert witnesses
    assert all(found[name].max() < INTACT_LOSS for name in witnesses if name in found)


def test_a_level_that_only_its_neighbours_show_to_be_low_is_dropped() -> None:
    levels = column({"T11": (0.14, 0.14, 0.14), "T12": (0.2, 0.2, 0.2), "L1": (0.2, 0.2, 0.2), "L2": (0.2, 0.2, 0.2)})
    expected = expected_heights(levels)
    assert expected["T12"] is not None
    assert set(expected["T12"].references) <= {"T9", "T10", "T11", "L3"}
