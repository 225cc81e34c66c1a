"""Pedicles and lean tell levels apart without ribs or sacrum in view, and weigh no reading down for a person's size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trabecula_models.column_norms import column_norms, pedicle_log_likelihood, tilt_log_likelihood, tilts_deg
from trabecula_models.level_evidence import TYPICAL_STEP_MM, ColumnEvidence
from trabecula_models.naming import NamedColumn, name_column

NAMES = tuple(TYPICAL_STEP_MM)
RANK_OF_C7 = 6


def usual_pedicles_mm(first: int, count: int) -> NDArray[np.float64]:
    return np.exp(column_norms().log_pedicle_mm)[first - RANK_OF_C7 : first - RANK_OF_C7 + count]


def usual_tilt_deg(first: int, count: int) -> NDArray[np.float64]:
    return column_norms().tilt_deg[first - RANK_OF_C7 : first - RANK_OF_C7 + count - 1]


def unanchored(first: int, count: int, *, size: float = 1.0, shape: bool = True) -> NamedColumn:
    """A column of usual form in a field without ribs or sacrum."""
    return name_column(
        ColumnEvidence(
            steps=np.ones(count - 1, dtype=int),
            steps_mm=size * np.array([TYPICAL_STEP_MM[name] for name in NAMES[first : first + count - 1]]),
            sacrum_below=0.0,
            rib_probability=np.full(count, np.nan),
            level_index=np.full(count, np.nan),
            pedicle_distance_mm=size * usual_pedicles_mm(first, count) if shape else None,
            tilt_deg=usual_tilt_deg(first, count) if shape else None,
        )
    )


@settings(deadline=None)
@given(first=st.integers(7, 17), count=st.integers(7, 12), size=st.floats(0.9, 1.1))
def test_a_field_without_anchors_is_named_by_its_form_whatever_the_size_and_stays_uncertain(first: int, count: int, size: float) -> None:
    count = min(count, len(NAMES) - first)
    named = unanchored(first, count, size=size)
    assert named.names == NAMES[first : first + count]
    assert not named.decision.certain


def test_form_makes_a_chest_without_anchors_far_more_probable() -> None:
    assert min(unanchored(8, 11).confidence) > 0.8
    assert max(unanchored(8, 11, shape=False).confidence) < 0.6


@pytest.mark.parametrize(("shift", "certain"), [(-2, False), (-1, False), (0, True)])
def test_form_alone_never_outweighs_ribs_and_sacrum_but_makes_them_uncertain_where_it_contradicts(shift: int, certain: bool) -> None:
    evidence = ColumnEvidence(
        steps=np.ones(6, dtype=int),
        steps_mm=np.full(6, 34.0),
        sacrum_below=0.985,
        rib_probability=np.array([0.95, 0.95, *[0.05] * 5]),
        level_index=np.full(7, np.nan),
        last_rib_length_mm=105.0,
        shortest_last_rib_mm=100.0,
        pedicle_distance_mm=usual_pedicles_mm(17 + shift, 7),
        tilt_deg=usual_tilt_deg(17 + shift, 7),
    )
    named = name_column(evidence)
    assert named.names == ("T11", "T12", "L1", "L2", "L3", "L4", "L5")
    assert named.decision.certain == certain


def test_the_form_of_one_level_further_down_fits_worse_at_every_level() -> None:
    for first in range(RANK_OF_C7 + 1, 18):
        ranks = np.arange(first, first + 6, dtype=float)
        pedicles, tilt = usual_pedicles_mm(first, 6), usual_tilt_deg(first, 6)
        fits = {
            shift: (
                pedicle_log_likelihood(column_norms(), ranks + shift, pedicles),
                tilt_log_likelihood(column_norms(), ranks + shift, tilt),
            )
            for shift in (-1, 0, 1)
        }
        for shift in (-1, 1):
            assert fits[0][0] > fits[shift][0]
            assert sum(fits[0]) > sum(fits[shift])  # from T7 to T12 the lean hardly changes and says little alone


def test_what_was_not_seen_says_nothing() -> None:
    ranks = np.arange(15.0, 20.0)
    pedicles, nothing = usual_pedicles_mm(15, 5), np.full(5, np.nan)
    assert pedicle_log_likelihood(column_norms(), ranks, nothing) == tilt_log_likelihood(column_norms(), ranks, nothing[1:]) == 0.0
    only_first = np.where(np.arange(5) == 0, pedicles, np.nan)
    assert pedicle_log_likelihood(column_norms(), ranks, only_first) == pedicle_log_likelihood(column_norms(), ranks[:1], pedicles[:1])


def test_six_lumbar_levels_above_a_sacrum_are_told_from_a_twelfth_thoracic_one_without_ribs() -> None:
    # The 47 scans with L6 in VID: L1 to L4 as usual, L5 and L6 40.7 and 55.8 mm where the last two of five have 36.7 and 48.1.
    lumbar = usual_pedicles_mm(19, 5)
    six = np.array([*lumbar[:4], lumbar[3] * 40.7 / 36.7, lumbar[4] * 55.8 / 48.1])
    five_and_twelfth = usual_pedicles_mm(18, 6)
    names = []
    for pedicles in (six, five_and_twelfth):
        evidence = ColumnEvidence(
            steps=np.ones(5, dtype=int),
            steps_mm=np.full(5, 35.0),
            sacrum_below=0.985,
            rib_probability=np.full(6, 0.05),
            level_index=np.full(6, np.nan),
            pedicle_distance_mm=pedicles,
        )
        names.append(name_column(evidence).names)
    assert (names[0][-1], names[1][0]) == ("L6", "T12")


def test_a_line_that_leans_back_upwards_has_a_positive_tilt() -> None:
    centers = np.array([[0.0, 10.0, 30.0], [0.0, 0.0, 0.0]])  # LPS: y grows backwards
    assert tilts_deg(centers) == pytest.approx([np.degrees(np.arctan2(10, 30))])


def test_the_norms_have_the_form_that_anatomy_gives_them() -> None:
    norms = column_norms()
    pedicles = np.exp(norms.log_pedicle_mm)
    assert np.argmin(pedicles) + RANK_OF_C7 in range(10, 13)  # narrowest at T4 to T6
    assert pedicles[-1] > 1.2 * pedicles[-2]  # L5 stands out
    assert norms.tilt_deg[1] < -20 and norms.tilt_deg[12] > 10 and norms.tilt_deg[-1] < 0  # noqa: PT018 - one claim: the S of a column
    assert np.linalg.eigvalsh(norms.tilt_covariance).min() > 0
