"""Level names follow from the sacrum and the ribs, and doubt is said."""

from typing import Any

import numpy as np
import pytest

from trabecula_models.level_evidence import ColumnEvidence
from trabecula_models.naming import NamedColumn, name_column

RIB, NONE, UNSEEN = 0.95, 0.05, float("nan")
LUMBAR_STEP_MM = 34.0


def column(
    ribs: list[float],
    *,
    sacrum: bool | float,
    steps: list[int] | None = None,
    level_index: list[float] | None = None,
    step_mm: float = LUMBAR_STEP_MM,
    last_rib_mm: float = 90.0,
    last_rib_whole: bool = True,
    shorter_rib_mm: float | None = None,
    processes_mm: list[float] | None = None,
    pairs: list[float] | None = None,
    sacral_contact_mm2: float = 0.0,
) -> NamedColumn:
    count = len(ribs)
    return name_column(
        ColumnEvidence(
            steps=np.array(steps or [1] * (count - 1), dtype=int),
            steps_mm=np.full(count - 1, step_mm),
            sacrum_below=0.985 * float(sacrum),
            rib_probability=np.array(ribs),
            level_index=np.array(level_index or [UNSEEN] * count),
            last_rib_length_mm=last_rib_mm,
            last_rib_whole=last_rib_whole,
            shortest_last_rib_mm=shorter_rib_mm if shorter_rib_mm is not None else last_rib_mm if last_rib_whole else UNSEEN,
            rib_pair_probability=None if pairs is None else np.array(pairs),
            process_reach_mm=None if processes_mm is None else np.array(processes_mm),
            sacral_contact_mm2=sacral_contact_mm2,
        )
    )


def test_five_bodies_between_the_last_rib_and_the_sacrum_are_l1_to_l5() -> None:
    named = column([RIB, RIB, NONE, NONE, NONE, NONE, NONE], sacrum=True)
    assert named.names == ("T11", "T12", "L1", "L2", "L3", "L4", "L5")
    assert named.decision.certain
    assert named.decision.anchors == ("sacrum", "last_rib")


SIX_BELOW_THE_RIBS = [RIB, RIB, NONE, NONE, NONE, NONE, NONE, NONE]


def test_six_bodies_below_a_rib_as_long_as_a_twelfth_are_l1_to_l6_and_not_certain() -> None:
    named = column(SIX_BELOW_THE_RIBS, sacrum=True, last_rib_mm=90.0)
    assert named.names[-1] == "L6"
    assert (named.decision.certain, named.decision.variants) == (False, ("L6",))
    assert -1 in {entry.shift for entry in named.decision.alternatives}


@pytest.mark.parametrize("seen", [{"last_rib_mm": 175.0}, {"last_rib_mm": 140.0, "last_rib_whole": False}])
def test_six_bodies_below_a_rib_as_long_as_an_eleventh_are_t12_without_ribs_to_l5(seen: dict[str, Any]) -> None:
    named = column(SIX_BELOW_THE_RIBS, sacrum=True, **seen)
    assert named.names == ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5")
    assert not named.decision.certain
    assert 1 in {entry.shift for entry in named.decision.alternatives}


LUMBAR_PROCESSES = [36.0, 40.0, 43.0, 43.0, 45.0]


def test_six_bodies_below_the_ribs_all_with_long_processes_are_l1_to_l6() -> None:
    named = column(SIX_BELOW_THE_RIBS, sacrum=True, last_rib_mm=140.0, last_rib_whole=False, processes_mm=[25, 23, *LUMBAR_PROCESSES, 45])
    assert named.names[-1] == "L6"
    assert (named.decision.certain, named.decision.variants) == (False, ("L6",))


def test_six_bodies_below_the_ribs_the_first_with_the_stubs_of_a_twelfth_are_t12_to_l5() -> None:
    named = column(SIX_BELOW_THE_RIBS, sacrum=True, last_rib_mm=140.0, last_rib_whole=False, processes_mm=[29, 25, 23, *LUMBAR_PROCESSES])
    assert named.names == ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5")


def test_the_processes_of_a_small_person_are_short_at_every_level() -> None:
    small = [0.8 * reach for reach in (29, 25, 23, *LUMBAR_PROCESSES)]
    named = column([UNSEEN] * 7, sacrum=False, step_mm=0.8 * LUMBAR_STEP_MM, processes_mm=small[1:])
    assert named.names == ("T11", "T12", "L1", "L2", "L3", "L4", "L5")


def test_long_processes_beside_low_bodies_are_read_by_how_they_change_not_by_their_length() -> None:
    long_for_the_steps = [1.05 * reach for reach in (*LUMBAR_PROCESSES, 45)]
    evidence: dict[str, Any] = {"sacrum": True, "step_mm": 0.88 * LUMBAR_STEP_MM, "last_rib_mm": 74.0, "last_rib_whole": False}
    named = column([RIB, *[NONE] * 6], processes_mm=[27, *long_for_the_steps], **evidence)
    assert named.names == ("T12", "L1", "L2", "L3", "L4", "L5", "L6")
    stubs_first = [27, 1.05 * 23, *long_for_the_steps[:5]]
    assert column([RIB, *[NONE] * 6], processes_mm=stubs_first, **evidence).names == ("T11", "T12", "L1", "L2", "L3", "L4", "L5")


def test_without_ribs_or_sacrum_in_view_the_step_to_long_processes_names_the_levels_but_makes_nothing_certain() -> None:
    for above in range(3):
        stubs = [29.0, 25.0, 23.0][3 - above :]
        named = column([UNSEEN] * (above + 3), sacrum=False, processes_mm=[*stubs, *LUMBAR_PROCESSES[:3]])
        assert named.names[above:] == ("L1", "L2", "L3")
        assert not named.decision.certain


@pytest.mark.parametrize("lost", [range(2, 3), range(2, 4), range(2, 7)])
def test_processes_lost_in_noise_do_not_outweigh_ribs_and_sacrum(lost: range) -> None:
    seen = [25.0, 23.0, *LUMBAR_PROCESSES]
    for index in lost:
        seen[index] = 24.0
    named = column([RIB, RIB, NONE, NONE, NONE, NONE, NONE], sacrum=True, processes_mm=seen)
    assert named.names == ("T11", "T12", "L1", "L2", "L3", "L4", "L5")


def test_the_neck_of_a_rib_beside_a_process_is_not_taken_for_one() -> None:
    long_beside_ribs = column([RIB, RIB, UNSEEN], sacrum=False, processes_mm=[45, 45, UNSEEN])
    unseen = column([RIB, RIB, UNSEEN], sacrum=False)
    assert (long_beside_ribs.names, long_beside_ribs.confidence) == (unseen.names, unseen.confidence)


def test_four_bodies_below_a_long_rib_are_l1_to_l4_since_no_lumbar_rib_is_that_long() -> None:
    named = column([RIB, RIB, NONE, NONE, NONE, NONE], sacrum=True, last_rib_mm=90.0)
    assert named.names == ("T11", "T12", "L1", "L2", "L3", "L4")
    assert (named.decision.certain, named.decision.variants) == (False, ("four_lumbar",))


def test_where_no_other_reading_reaches_one_percent_the_neighbours_are_not_given_one() -> None:
    named = column([RIB] * 3 + [NONE] * 5, sacrum=True, steps=[2, 1, 1, 1, 1, 1, 1], level_index=[15, *range(17, 24)])
    assert (named.names[:2], named.decision.certain) == (("T9", "T11"), False)
    assert {entry.shift: entry.probability < 0.01 for entry in named.decision.alternatives} == {-1: True, 1: True}


def test_a_sacrum_without_ribs_in_view_is_not_certain_since_l6_looks_the_same() -> None:
    named = column([NONE, NONE, NONE, NONE], sacrum=True)
    assert named.names == ("L2", "L3", "L4", "L5")
    assert not named.decision.certain
    assert {entry.shift for entry in named.decision.alternatives} >= {1}


def test_a_field_without_anchor_is_never_certain() -> None:
    named = column([UNSEEN, UNSEEN, UNSEEN], sacrum=False)
    assert not named.decision.certain
    assert named.decision.alternatives


def test_a_missed_body_moves_the_names_above_it_and_makes_them_uncertain() -> None:
    named = column([RIB, RIB, NONE, NONE, NONE, NONE], sacrum=True, steps=[1, 1, 1, 2, 1])
    assert named.names == ("T11", "T12", "L1", "L2", "L4", "L5")
    assert not named.decision.certain


def test_the_coarse_level_decides_between_readings_that_the_ribs_leave_open() -> None:
    low = column([RIB, RIB, RIB], sacrum=False, level_index=[16.0, 17.0, 18.0], step_mm=25.0)
    high = column([RIB, RIB, RIB], sacrum=False, level_index=[10.0, 11.0, 12.0], step_mm=25.0)
    assert low.names[0] in {"T9", "T10"}
    assert high.names[0] in {"T3", "T4", "T5"}


def test_a_last_rib_alone_is_not_certain_since_one_in_twelve_has_another_count_of_ribs() -> None:
    named = column([RIB, RIB, NONE, NONE, NONE], sacrum=False, last_rib_mm=95.0)
    assert named.names == ("T11", "T12", "L1", "L2", "L3")
    assert (named.decision.certain, named.decision.anchors) == (False, ("last_rib",))


def test_a_sliver_of_sacrum_does_not_outweigh_the_last_rib() -> None:
    named = column([RIB, NONE, NONE, NONE, NONE], sacrum=0.72)
    assert named.names == ("T12", "L1", "L2", "L3", "L4")
    assert not named.decision.certain
    assert "sacrum" not in named.decision.anchors


def test_the_first_rib_is_an_anchor_only_where_the_body_above_is_seen_to_bear_none() -> None:
    thorax_and_loin = [RIB] * 12 + [NONE] * 5
    steps_mm = 26.0
    seen = column([NONE, *thorax_and_loin], sacrum=True, step_mm=steps_mm)
    at_the_edge = column([UNSEEN, *thorax_and_loin], sacrum=True, step_mm=steps_mm)
    assert seen.names == at_the_edge.names
    assert seen.names[:2] == ("C7", "T1")
    assert seen.decision.anchors == ("sacrum", "last_rib", "first_rib")
    assert at_the_edge.decision.anchors == ("sacrum", "last_rib")


def test_a_thirteenth_pair_of_ribs_is_as_likely_below_as_above_only_where_all_are_pairs() -> None:
    ribs, two = [UNSEEN] + [RIB] * 13 + [NONE] * 5, [0.0] + [0.998] * 13 + [0.0] * 5

    def thirteenth_below(pairs: list[float] | None) -> float:
        named = column(ribs, sacrum=True, step_mm=26.0, last_rib_mm=35.0, pairs=pairs)
        assert not named.decision.certain
        return named.confidence[1] if named.names[1] == "T1" else 1 - named.confidence[1]

    # Cervical ribs on both sides: 43 in 10,000 people, thirteen pairs 40; a cervical rib on one side is as common as two.
    assert thirteenth_below(two) == pytest.approx(0.5, abs=0.1)
    assert thirteenth_below([0.0, 0.0, *two[2:]]) < 0.15
    assert thirteenth_below(None) < 0.15


def test_ribs_on_one_side_of_the_lower_thorax_say_what_they_said() -> None:
    ribs = [RIB, RIB, NONE, NONE, NONE, NONE, NONE]
    without, with_pairs = (column(ribs, sacrum=True, pairs=pairs) for pairs in (None, [0.998, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert with_pairs.names == without.names
    assert with_pairs.confidence == pytest.approx(without.confidence, abs=1e-3)


def test_short_last_ribs_leave_the_numbering_open_and_are_named() -> None:
    ribs = [RIB, RIB, NONE, NONE, NONE, NONE, NONE]
    short, long = column(ribs, sacrum=True, last_rib_mm=30.0), column(ribs, sacrum=True, last_rib_mm=60.0)
    assert short.names == long.names
    assert (short.decision.certain, short.decision.variants) == (False, ("short_last_rib",))
    assert (long.decision.certain, long.decision.variants) == (True, ())
    assert 1 in {entry.shift for entry in short.decision.alternatives}


def test_one_short_last_rib_leaves_the_numbering_open_though_the_other_is_long() -> None:
    ribs = [RIB, RIB, NONE, NONE, NONE, NONE, NONE]
    for seen in ({"last_rib_mm": 82.0}, {"last_rib_mm": 82.0, "last_rib_whole": False}):
        named = column(ribs, sacrum=True, shorter_rib_mm=35.0, **seen)
        assert named.names[1] == "T12"
        assert (named.decision.certain, named.decision.variants) == (False, ("short_last_rib",))
    assert column(ribs, sacrum=True, shorter_rib_mm=72.0, last_rib_mm=82.0).decision.certain


def test_short_last_ribs_do_no_harm_where_all_ribs_were_counted_from_the_first() -> None:
    named = column([NONE] + [RIB] * 12 + [NONE] * 5, sacrum=True, step_mm=26.0, last_rib_mm=30.0)
    assert named.names[12] == "T12"
    assert (named.decision.certain, named.decision.variants) == (True, ("short_last_rib",))


def test_a_twelfth_vertebra_without_ribs_leaves_the_numbering_open_unless_all_ribs_were_counted() -> None:
    seen = {"last_rib_mm": 175.0, "processes_mm": [UNSEEN, UNSEEN, 23.0, 36.0, 40.0, 43.0, 43.0, 45.0]}
    named = column(SIX_BELOW_THE_RIBS, sacrum=True, **seen)
    assert named.names == ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5")
    assert (named.decision.certain, named.decision.variants) == (False, ("T12_without_ribs",))
    assert 1 in {entry.shift for entry in named.decision.alternatives}
    counted = column([NONE] + [RIB] * 11 + [NONE] * 6, sacrum=True, step_mm=26.0, last_rib_mm=175.0)
    assert counted.names[12] == "T12"
    assert counted.decision.variants == ("T12_without_ribs",)


def test_an_l5_joined_to_the_sacrum_is_named_and_leaves_the_numbering_open_unless_all_ribs_were_counted() -> None:
    ribs = [RIB, RIB, NONE, NONE, NONE, NONE, NONE]
    joined, free = column(ribs, sacrum=True, sacral_contact_mm2=40.0), column(ribs, sacrum=True, sacral_contact_mm2=5.0)
    assert joined.names == free.names
    assert (joined.decision.certain, joined.decision.variants) == (False, ("sacralised_L5",))
    assert {-1, 1} <= {entry.shift for entry in joined.decision.alternatives}
    assert (free.decision.certain, free.decision.variants) == (True, ())
    counted = column([NONE] + [RIB] * 12 + [NONE] * 5, sacrum=True, step_mm=26.0, sacral_contact_mm2=40.0)
    assert counted.names[-1] == "L5"
    assert (counted.decision.certain, counted.decision.variants) == (True, ("sacralised_L5",))


def test_a_sixth_lumbar_vertebra_joined_to_the_sacrum_is_said_once_as_a_sixth() -> None:
    assert column(SIX_BELOW_THE_RIBS, sacrum=True, sacral_contact_mm2=40.0).decision.variants == ("L6",)
