"""The column is found as a chain of bodies, whatever else looks like one."""

from dataclasses import replace

import numpy as np

from trabecula_models.column import BodyCandidate, chain_step_levels, column_chain, disc_between


def body(z_mm: float, *, x_mm: float = 0.0, y_mm: float = 0.0, heat: float = 0.9) -> BodyCandidate:
    return BodyCandidate(voxel_zyx=(0, 0, 0), center_lps_mm=np.array([x_mm, y_mm, z_mm]), heat=heat)


def heights(chain: list[BodyCandidate]) -> list[float]:
    return [float(candidate.center_lps_mm[2]) for candidate in chain]


def test_bodies_come_cranial_to_caudal() -> None:
    assert heights(column_chain([body(0), body(70), body(35)])) == [70, 35, 0]


def test_a_bright_vessel_in_front_of_the_column_does_not_join() -> None:
    column = [body(35.0 * index) for index in range(6)]
    vessel = body(52.0, y_mm=-45.0, heat=0.8)
    assert heights(column_chain([*column, vessel])) == heights(column_chain(column))


def test_a_weak_peak_fills_a_gap_but_does_not_split_a_healthy_step() -> None:
    column = [body(0), body(35), body(105), body(140)]
    weak = [body(70, heat=0.15), body(17, heat=0.15)]
    assert heights(column_chain([*column, *weak])) == [140, 105, 70, 35, 0]


def test_a_body_crowded_out_in_a_small_person_fills_the_gap_that_it_left() -> None:
    column = [lumbar_body(24.0 * index) for index in range(6)]
    dark = column[2] = lumbar_body(48.0, heat=0.45)  # beside its marrow no disc can be told
    assert heights(column_chain(column, lambda upper, lower: dark not in (upper, lower))) == [120, 96, 72, 48, 24, 0]


def test_a_step_twice_as_long_as_its_neighbours_spans_two_levels() -> None:
    assert chain_step_levels(np.array([34.0, 35.0, 69.0, 36.0])).tolist() == [1, 1, 2, 1]


def lumbar_body(z_mm: float, heat: float = 0.8) -> BodyCandidate:
    return BodyCandidate(voxel_zyx=(0, 0, 0), center_lps_mm=np.array([0.0, 0.0, z_mm]), heat=heat, usual_step_mm=35.0)


def column_map(discs_at_mm: list[float]) -> np.ndarray:
    """Probability of body on a grid of 1 mm: body everywhere but in discs 4 mm high."""
    body_zyx = np.ones((200, 9, 9), np.float32)
    for height in discs_at_mm:
        body_zyx[round(height) - 2 : round(height) + 2] = 0.0
    return body_zyx


def on_grid(candidate: BodyCandidate) -> BodyCandidate:
    return replace(candidate, voxel_zyx=(round(float(candidate.center_lps_mm[2])), 4, 4))


def test_low_bodies_with_discs_between_them_all_stay() -> None:
    low = [on_grid(lumbar_body(20.0 * index + 10)) for index in range(5)]
    discs = disc_between(column_map([20.0 * index + 20 for index in range(4)]), 1.0)
    assert len(column_chain(low)) < 5
    assert len(column_chain(low, discs)) == 5


def test_a_peak_in_a_disc_is_no_body_though_disc_lies_on_both_sides_of_it() -> None:
    column = [on_grid(lumbar_body(35.0 * index + 15)) for index in range(5)]
    high_discs = column_map([35.0 * index + 32 for index in range(4)])
    high_discs[60:75] = 0.0
    in_disc = on_grid(lumbar_body(67.0, heat=0.5))
    assert heights(column_chain([*column, in_disc], disc_between(high_discs, 1.0))) == heights(column)[::-1]


def test_a_body_that_thick_slices_broke_into_two_peaks_stays_one() -> None:
    column = [on_grid(lumbar_body(35.0 * index + 15)) for index in range(5)]
    discs = disc_between(column_map([35.0 * index + 32 for index in range(4)]), 1.0)
    broken = on_grid(lumbar_body(63.0, heat=0.5))
    assert heights(column_chain([*column, broken], discs)) == heights(column)[::-1]
    doubled = [on_grid(lumbar_body(35.0 * index + 31.0, heat=0.5)) for index in range(4)]
    assert heights(column_chain([*column, *doubled])) == heights(column)[::-1]
