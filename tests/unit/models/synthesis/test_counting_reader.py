"""The reader who sees everything and counts: what can be named from a picture, and what only from more of the patient."""

from __future__ import annotations

import pytest

from bench.bench_heldout import SHARES_IN_PEOPLE
from bench.counting_reader import COLUMNS, SACRUM, names_by_counting
from trabecula_models.synthesis.variants import Variant


def levels_of(variant: str) -> list[str]:
    return [name for name, _ in COLUMNS[variant] if name != SACRUM]


def wrong(variant: Variant, in_view: list[str], *, sacrum: bool, unseen: tuple[str, ...] = ()) -> list[str]:
    read = names_by_counting(variant.value, in_view, sacrum=sacrum, shares=SHARES_IN_PEOPLE, unseen=unseen)
    return [name for name in in_view if read[name] != name]


@pytest.mark.parametrize("variant", Variant)
def test_a_whole_spine_is_counted_rightly_whatever_its_variant(variant: Variant) -> None:
    assert not wrong(variant, levels_of(variant.value), sacrum=True)


def test_a_thirteenth_rib_without_the_first_in_view_is_taken_for_a_short_twelfth() -> None:
    assert wrong(Variant.T13, ["T10", "T11", "T12", "T13", "L1", "L2", "L3", "L4", "L5"], sacrum=True) == ["T10", "T11", "T12", "T13"]
    assert not wrong(Variant.SHORT_RIB, ["T11", "T12", "L1", "L2", "L3", "L4", "L5"], sacrum=True)


def test_six_lumbar_vertebrae_are_counted_between_ribs_and_sacrum_and_not_without_both() -> None:
    six = ["L1", "L2", "L3", "L4", "L5", "L6"]
    assert not wrong(Variant.L6, ["T12", *six], sacrum=True)
    assert wrong(Variant.L6, six[1:], sacrum=True) == six[1:]  # the five above a sacrum
    assert not wrong(Variant.L6, ["T12", *six[:-1]], sacrum=False)


def test_a_piece_that_fits_anywhere_is_decided_for_the_truth() -> None:
    assert not wrong(Variant.USUAL, ["T5", "T6", "T7"], sacrum=False)
    assert not wrong(Variant.USUAL, ["L1", "L2", "L3"], sacrum=False)


def test_six_lumbar_vertebrae_of_which_the_field_cuts_the_first_are_those_of_five_below_a_twelfth() -> None:
    six = ["L1", "L2", "L3", "L4", "L5", "L6"]
    assert not wrong(Variant.L6, six, sacrum=True)
    assert wrong(Variant.L6, six, sacrum=True, unseen=("L1",)) == six
    assert not wrong(Variant.L6, ["T12", *six], sacrum=True, unseen=("T12",))  # all six are seen to be lumbar


def test_an_unseen_vertebra_is_never_the_sacrum() -> None:
    assert not wrong(Variant.L6, ["T12", "L1", "L2", "L3", "L4", "L5", "L6"], sacrum=False, unseen=("L6",))


def test_a_gap_is_no_piece_of_a_column() -> None:
    with pytest.raises(ValueError, match="no piece"):
        wrong(Variant.USUAL, ["T11", "L1"], sacrum=False)
