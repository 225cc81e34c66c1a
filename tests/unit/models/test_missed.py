"""Bodies that ran together are told by the distances of the others, and no healthy or crushed column gains one."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trabecula_models.bodies import ClassMaps
from trabecula_models.column import BodyCandidate
from trabecula_models.missed import with_missed_bodies

SPACING_MM, USUAL_STEP_MM = 1.5, 21.0
COUNT = 10
SHAPE = (170, 24, 24)
STEP_VOXELS = 15


def true_rows(steps_voxels: list[float]) -> NDArray[np.float64]:
    """Rows of the centres, cranial to caudal (row 0 is caudal)."""
    return 160.0 - np.concatenate([[0.0], np.cumsum(steps_voxels)])


def candidates(rows: list[float]) -> list[BodyCandidate]:
    voxels = [(round(row), 12, 12) for row in rows]
    return [
        BodyCandidate(voxel_zyx=voxel, center_lps_mm=np.array(voxel[::-1]) * SPACING_MM, heat=0.9, usual_step_mm=USUAL_STEP_MM)
        for voxel in voxels
    ]


def bar_of_bone(rows: list[float], gap: slice | None = None) -> tuple[ClassMaps, NDArray[np.int16]]:
    """One piece of bone through all levels, each voxel of the nearest of the rows; without bone in the gap."""
    body = np.zeros(SHAPE, np.float32)
    body[:, 6:18, 6:18] = 1
    if gap is not None:
        body[gap] = 0
    nearest = np.abs(np.arange(SHAPE[0])[:, None] - np.array(rows)).argmin(axis=1) + 1
    instances = np.where(body > 0, nearest[:, None, None], 0).astype(np.int16)
    nothing = np.zeros(SHAPE, np.float32)
    return ClassMaps(body=body, posterior=nothing, disc=nothing, sacrum=nothing, rib=nothing, pelvis=nothing, heat=nothing), instances


def found_in(rows: list[float], gap: slice | None = None) -> tuple[list[BodyCandidate], NDArray[np.int16]]:
    maps, instances = bar_of_bone(rows, gap)
    return with_missed_bodies(candidates(rows), instances, maps, SPACING_MM)


EVEN = list(true_rows([STEP_VOXELS] * (COUNT - 1)))


@pytest.mark.parametrize("lost", range(1, COUNT - 1))
def test_a_body_without_a_peak_is_put_where_its_neighbours_leave_room(lost: int) -> None:
    chain, instances = found_in([row for index, row in enumerate(EVEN) if index != lost])
    assert [round(one.voxel_zyx[0]) for one in chain] == pytest.approx(EVEN, abs=1)
    assert [one.inferred for one in chain] == [index == lost for index in range(COUNT)]
    for number, row in enumerate(EVEN, start=1):
        assert instances[round(row), 12, 12] == number


@pytest.mark.parametrize("first", range(1, COUNT - 2))
def test_two_bodies_under_one_peak_are_two(first: int) -> None:
    rows = [*EVEN[:first], (EVEN[first] + EVEN[first + 1]) / 2, *EVEN[first + 2 :]]
    chain, instances = found_in(rows)
    assert [round(one.voxel_zyx[0]) for one in chain] == pytest.approx(EVEN, abs=1)
    assert [one.inferred for one in chain] == [index in (first, first + 1) for index in range(COUNT)]
    for number, row in enumerate(EVEN, start=1):
        assert instances[round(row), 12, 12] == number


def test_a_body_is_found_beside_a_long_step_whose_disc_is_seen() -> None:
    steps = [float(STEP_VOXELS)] * (COUNT - 1)
    steps[2:5] = [1.2 * STEP_VOXELS, 0.8 * STEP_VOXELS, 0.8 * STEP_VOXELS]
    rows = list(true_rows(steps))
    disc = round((rows[2] + rows[3]) / 2)
    chain, instances = found_in([row for index, row in enumerate(rows) if index != 4], gap=slice(disc - 1, disc + 2))
    assert [round(one.voxel_zyx[0]) for one in chain] == pytest.approx(rows, abs=1)
    assert [one.inferred for one in chain] == [index == 4 for index in range(COUNT)]
    for number, row in enumerate(rows, start=1):
        assert instances[round(row), 12, 12] == number


def test_where_no_bone_is_seen_nothing_is_invented() -> None:
    rows = [row for index, row in enumerate(EVEN) if index != 4]
    middle = round(EVEN[4])
    chain, _ = found_in(rows, gap=slice(middle - 6, middle + 7))
    assert len(chain) == COUNT - 1


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.floats(0.9 * STEP_VOXELS, 1.1 * STEP_VOXELS), min_size=5, max_size=COUNT - 1), crushed=st.sets(st.integers(0, 8)))
def test_columns_of_any_size_with_crushed_bodies_and_their_discs_stay_as_they_are(steps: list[float], crushed: set[int]) -> None:
    rows = list(true_rows([0.7 * step if index in crushed else step for index, step in enumerate(steps)]))
    maps, instances = bar_of_bone(rows)
    for upper, lower in pairwise(rows):
        disc = round((upper + lower) / 2)
        maps.body[disc - 1 : disc + 2] = 0.1
    chain, _ = with_missed_bodies(candidates(rows), instances, maps, SPACING_MM)
    assert len(chain) == len(rows)


def test_in_a_short_piece_of_column_no_step_counts_as_long() -> None:
    assert len(found_in([EVEN[0], EVEN[2], EVEN[3], EVEN[5]])[0]) == 4
