"""Whatever was seen, the names form a column: each level once, in order, none lost."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trabecula_models.level_evidence import ColumnEvidence
from trabecula_models.naming import name_column
from trabecula_morphometry.levels import LEVELS_IN_ORDER, level_position

chance = st.floats(0.02, 0.98) | st.just(float("nan"))


@st.composite
def evidence(draw: st.DrawFn) -> ColumnEvidence:
    count = draw(st.integers(1, 20))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 1, 2]), min_size=count - 1, max_size=count - 1))
    while sum(steps) > 22:
        steps[steps.index(2)] = 1
    return ColumnEvidence(
        steps=np.array(steps, dtype=int),
        steps_mm=np.array(draw(st.lists(st.floats(12.0, 58.0), min_size=count - 1, max_size=count - 1))),
        sacrum_below=draw(st.sampled_from([0.0, 0.7, 0.985])),
        rib_probability=np.array(draw(st.lists(chance, min_size=count, max_size=count))),
        level_index=np.array(draw(st.lists(st.floats(-5, 30) | st.just(float("nan")), min_size=count, max_size=count))),
        last_rib_length_mm=draw(st.floats(0.0, 300.0) | st.just(float("nan"))),
        last_rib_whole=draw(st.booleans()),
    )


@given(evidence())
@settings(max_examples=150, deadline=None)
def test_every_body_gets_one_name_and_the_names_are_in_order(seen: ColumnEvidence) -> None:
    named = name_column(seen)
    assert len(named.names) == len(seen.rib_probability)
    ranks = [level_position(name) for name in named.names]
    assert ranks == sorted(set(ranks))
    assert set(named.names) <= set(LEVELS_IN_ORDER)


@given(evidence())
@settings(max_examples=150, deadline=None)
def test_uncertain_names_come_with_an_alternative(seen: ColumnEvidence) -> None:
    decision = name_column(seen).decision
    assert decision.certain or decision.alternatives
    assert all(0 < entry.probability <= 1 and entry.shift != 0 for entry in decision.alternatives)


@given(evidence())
@settings(max_examples=100, deadline=None)
def test_nothing_is_certain_without_an_anchor(seen: ColumnEvidence) -> None:
    decision = name_column(seen).decision
    assert decision.anchors or not decision.certain
