"""Whatever stacks of a spine say, the joined column has each level once and in order; and stacks that tell the truth give the truth."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trabecula_models.level_evidence import TYPICAL_STEP_MM
from trabecula_morphometry.levels import LEVELS_IN_ORDER, level_position
from trabecula_service.pipeline.join_names import JoinedNames, NamedStack, StackLevel, join_names

COLUMN = [name for name in LEVELS_IN_ORDER if name not in ("T13", "L6")]
Z_MM = dict(zip(COLUMN, -np.cumsum([0.0, *(TYPICAL_STEP_MM[name] for name in COLUMN[:-1])]), strict=True))


def stack(
    first: str,
    last: str,
    *,
    shift: int = 0,
    certain: bool = True,
    moved_mm: float = 0.0,
    cut_first: bool = False,
    cut_last: bool = False,
    alternatives: dict[int, float] | None = None,
) -> NamedStack:
    """The bodies from first to last, named ``shift`` levels too low; a cut end body has its middle a quarter body height inside."""
    true = COLUMN[COLUMN.index(first) : COLUMN.index(last) + 1]
    levels = []
    for name in true:
        is_cut = (cut_first and name == first) or (cut_last and name == last)
        z = Z_MM[name] + moved_mm + (-6.0 if cut_first and name == first else 6.0 if cut_last and name == last else 0.0)
        said = COLUMN[COLUMN.index(name) + shift]
        levels.append(StackLevel(name=said, center_lps_mm=(0.0, 0.0, z), complete=not is_cut, quality=(float(not is_cut),)))
    return NamedStack(levels=tuple(levels), certain=certain, alternatives=alternatives or {})


def names(joined: JoinedNames) -> list[str]:
    return [level.name for level in joined.levels]


def true_names(first: str, last: str) -> list[str]:
    return COLUMN[COLUMN.index(first) : COLUMN.index(last) + 1]


UNSURE = {"certain": False, "alternatives": {-1: 0.4, 1: 0.05}}


def test_three_stacks_that_share_bodies_become_one_column() -> None:
    joined = join_names([stack("L1", "L5"), stack("C3", "T2"), stack("T1", "L1")])
    assert names(joined) == true_names("C3", "L5")
    assert joined.certain
    assert joined.shifts == (0, 0, 0)


@pytest.mark.parametrize("shared", ["T12", "T11"])
@pytest.mark.parametrize("shift", [-1, 1])
def test_a_sure_lumbar_stack_names_an_unsure_thoracic_one_by_the_body_both_show(shift: int, shared: str) -> None:
    joined = join_names([stack("T5", "T12", shift=shift, **UNSURE), stack(shared, "L5")])
    assert names(joined) == true_names("T5", "L5")
    assert joined.certain
    assert joined.shifts == (-shift, 0)


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_without_a_common_body_the_distance_of_the_neighbours_names_them(shift: int) -> None:
    joined = join_names([stack("T5", "T12", shift=shift, **UNSURE), stack("L1", "L5")])
    assert names(joined) == true_names("T5", "L5")
    assert joined.certain


def test_a_body_between_the_stacks_that_none_shows_is_left_open() -> None:
    joined = join_names([stack("T5", "T11"), stack("L1", "L5")])
    assert names(joined) == [*true_names("T5", "T11"), *true_names("L1", "L5")]
    assert joined.certain


def test_a_body_that_both_stacks_cut_is_listed_once() -> None:
    joined = join_names([stack("T8", "L1", cut_last=True), stack("L1", "L5", cut_first=True)])
    assert names(joined) == true_names("T8", "L5")
    assert joined.certain


def test_of_two_views_of_a_body_the_whole_one_is_taken() -> None:
    joined = join_names([stack("T8", "L2", cut_last=True), stack("L1", "L5", cut_first=True)])
    assert {level.name: level.stack for level in joined.levels if level.name in ("L1", "L2")} == {"L1": 0, "L2": 1}


def test_a_patient_who_moved_a_little_between_the_stacks_is_still_one_patient() -> None:
    joined = join_names([stack("T5", "T12", moved_mm=5.0), stack("T10", "L5")])
    assert names(joined) == true_names("T5", "L5")


def test_two_unsure_stacks_stay_unsure_and_keep_their_alternatives() -> None:
    joined = join_names([stack("T5", "T12", **UNSURE), stack("T11", "L4", **UNSURE)])
    assert names(joined) == true_names("T5", "L4")
    assert not joined.certain
    assert joined.alternatives[-1] == pytest.approx(0.4**2 / (0.4**2 + 0.55**2 + 0.05**2), rel=1e-3)


def test_two_sure_stacks_that_contradict_each_other_make_the_names_unsure() -> None:
    joined = join_names([stack("T5", "T12", shift=1), stack("T11", "L5")])
    assert not joined.certain
    assert joined.alternatives


def test_a_distance_that_is_no_whole_number_of_steps_makes_the_names_unsure() -> None:
    assert not join_names([stack("T5", "T12", moved_mm=17.0), stack("L1", "L5")]).certain


def test_two_bodies_that_claim_one_name_make_the_names_unsure() -> None:
    upper = stack("T8", "L1")
    elsewhere = StackLevel(name="T9", center_lps_mm=(0.0, 0.0, Z_MM["L2"]), complete=True)
    joined = join_names([upper, NamedStack(levels=(elsewhere, *stack("L3", "L5").levels), certain=True, alternatives={})])
    assert not joined.certain
    assert len(set(names(joined))) == len(names(joined))


def test_stacks_without_bodies_are_no_part_of_the_column() -> None:
    empty = NamedStack(levels=(), certain=False, alternatives={})
    assert names(join_names([empty, stack("T5", "L5")])) == true_names("T5", "L5")
    assert join_names([empty]).levels == ()


def test_a_t13_of_the_upper_stack_is_kept_above_a_lumbar_one() -> None:
    upper = [
        StackLevel(name="T13" if level.name == "L1" else level.name, center_lps_mm=level.center_lps_mm, complete=True)
        for level in stack("T8", "L1").levels
    ]
    lower = [
        StackLevel(name=name, center_lps_mm=(0.0, 0.0, Z_MM["L1"] - 34.0 * step), complete=True)
        for step, name in enumerate(("L1", "L2", "L3"), start=1)
    ]
    stacks = [NamedStack(levels=tuple(levels), certain=bool(sure), alternatives={}) for sure, levels in enumerate((upper, lower))]
    assert names(join_names(stacks)) == [*true_names("T8", "T12"), "T13", "L1", "L2", "L3"]


@st.composite
def any_stack(draw: st.DrawFn) -> NamedStack:
    """Any names in order at any places below each other: what a network may say on a bad day."""
    count = draw(st.integers(0, 8))
    said = sorted(draw(st.lists(st.sampled_from(LEVELS_IN_ORDER), min_size=count, max_size=count, unique=True)), key=level_position)
    z = draw(st.floats(-600, 0))
    levels = []
    for name in said:
        z -= draw(st.floats(8, 60))
        center = (draw(st.floats(-20, 20)), draw(st.floats(-20, 20)), z)
        levels.append(StackLevel(name=name, center_lps_mm=center, complete=draw(st.booleans()), quality=(draw(st.integers(0, 2)),)))
    alternatives = draw(st.dictionaries(st.sampled_from([-2, -1, 1, 2]), st.floats(0.01, 0.2), max_size=3))
    return NamedStack(levels=tuple(levels), certain=draw(st.booleans()), alternatives=alternatives)


@settings(max_examples=300, deadline=None)
@given(st.lists(any_stack(), max_size=4))
def test_no_level_is_named_twice_or_out_of_order(stacks: list[NamedStack]) -> None:
    joined = join_names(stacks)
    ranks = [level_position(name) for name in names(joined)]
    heights = [stacks[level.stack].levels[level.level].center_lps_mm[2] for level in joined.levels]
    assert all(upper < lower for upper, lower in pairwise(ranks))
    assert all(upper > lower for upper, lower in pairwise(heights))
    assert len({(level.stack, level.level) for level in joined.levels}) == len(joined.levels)
    assert len(joined.levels) + joined.left_out <= sum(len(stack.levels) for stack in stacks)
    assert not joined.certain or any(stack.certain for stack in stacks)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_cut_column_comes_together_whatever_the_unsure_stacks_were_called(data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(4, 20), min_size=1, max_size=2, unique=True)))
    bounds = [1, *cuts, 23]
    overlap = data.draw(st.integers(0, 2))
    certain = data.draw(st.integers(0, len(bounds) - 2))
    stacks = []
    for number, (first, last) in enumerate(pairwise(bounds)):
        top = max(first - (overlap if number else 0), 1) + (1 if number and not overlap else 0)
        shift = 0 if number == certain else data.draw(st.sampled_from([-1, 0, 1] if last < 23 else [-1, 0]))
        if top > last:
            return
        more = {} if number == certain else UNSURE
        stacks.append(stack(COLUMN[top], COLUMN[last], shift=shift, **more))
    joined = join_names(data.draw(st.permutations(stacks)))
    assert names(joined) == true_names(COLUMN[1], COLUMN[23])
