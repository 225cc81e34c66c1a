"""The column is found as a chain of bodies, whatever else looks like one."""

import numpy as np

from trabecula_models.column import BodyCandidate, chain_step_levels, column_chain, column_chain_in


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


def test_a_step_twice_as_long_as_its_neighbours_spans_two_levels() -> None:
    assert chain_step_levels(np.array([34.0, 35.0, 69.0, 36.0])).tolist() == [1, 1, 2, 1]


def lumbar_body(z_mm: float, heat: float = 0.8) -> BodyCandidate:
    return BodyCandidate(voxel_zyx=(0, 0, 0), center_lps_mm=np.array([0.0, 0.0, z_mm]), heat=heat, usual_step_mm=35.0)


def test_a_column_squeezed_to_half_its_length_keeps_all_its_bodies_so_that_their_sizes_are_judged() -> None:
    squeezed = [lumbar_body(18.0 * index) for index in range(5)]
    assert len(column_chain(squeezed)) < 5
    assert len(column_chain_in(squeezed, slice_spacing_mm=2.0)) == 5


def test_one_doubled_peak_or_thick_slices_do_not_count_as_squeezed() -> None:
    column = [lumbar_body(35.0 * index) for index in range(5)]
    assert heights(column_chain_in([*column, lumbar_body(52.0, heat=0.5)], slice_spacing_mm=2.0)) == heights(column)[::-1]
    doubled = [lumbar_body(35.0 * index + 16.0, heat=0.5) for index in range(4)]
    assert heights(column_chain_in([*column, *doubled], slice_spacing_mm=8.0)) == heights(column)[::-1]
