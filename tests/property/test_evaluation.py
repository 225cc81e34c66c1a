"""What is true of any two label volumes and any grades."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.label_columns import BlockColumn
from trabecula_models.evaluation.grading import GradePair, Share, agreement, confusion, per_patient
from trabecula_models.evaluation.identification import identify
from trabecula_models.evaluation.overlap import label_overlaps, spine_overlap
from trabecula_morphometry.volume import Grid, LabelVolume

SHAPE = (6, 7, 8)
volumes = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).choice([0, 0, 0, 19, 20, 21, 26], SHAPE).astype(np.uint8))
offsets = st.tuples(*[st.floats(-60, 60)] * 3)
grades = st.lists(st.tuples(st.sampled_from([None, 0, 1, 2, 3]), st.sampled_from([None, 0, 1, 2, 3]), st.sampled_from("ab")), max_size=12)


def on_grid(labels: np.ndarray, matrix: np.ndarray | None = None) -> LabelVolume:
    matrix = np.diag([0.7, 1.0, 2.5, 1.0]) if matrix is None else matrix
    return LabelVolume(labels_zyx=np.ascontiguousarray(labels), grid=Grid(shape_zyx=labels.shape, voxel_to_lps=matrix))


@settings(max_examples=25, deadline=None)
@given(a=volumes, b=volumes)
def test_overlap_does_not_care_who_is_the_reference_or_how_the_axes_run(a: np.ndarray, b: np.ndarray) -> None:
    forth, back = label_overlaps(on_grid(a), on_grid(b)), label_overlaps(on_grid(b), on_grid(a))
    flipped = label_overlaps(on_grid(a[::-1, :, ::-1]), on_grid(b[::-1, :, ::-1]))
    for label, overlap in forth.items():
        for other in (back[label], flipped[label]):
            assert (other.dice, other.hd95_mm) == pytest.approx((overlap.dice, overlap.hd95_mm))
        assert 0.0 <= overlap.dice <= 1.0


@settings(max_examples=15, deadline=None)
@given(a=volumes)
def test_a_perfect_prediction_is_perfect(a: np.ndarray) -> None:
    assert all((one.dice, one.hd95_mm) == (1.0, 0.0) for one in label_overlaps(on_grid(a), on_grid(a)).values())
    assert spine_overlap(on_grid(a), on_grid(a)).dice == 1.0


@settings(max_examples=60, deadline=None)
@given(shift=offsets)
def test_moving_all_centres_together_keeps_names_until_half_a_level_or_20_mm(shift: tuple[float, float, float]) -> None:
    truth = BlockColumn().centers()
    found = identify(truth, {label: tuple(np.add(center, shift)) for label, center in truth.items()})
    distance = float(np.linalg.norm(shift))
    assert all(one.distance_mm == pytest.approx(distance) for one in found.values())
    if distance >= 20.0:
        assert not any(one.hit for one in found.values())
    elif abs(shift[2]) < 14.9:
        assert all(one.hit for one in found.values())


@settings(max_examples=60, deadline=None)
@given(rows=grades)
def test_agreement_accounts_for_every_graded_pair_once(rows: list[tuple[int | None, int | None, str]]) -> None:
    pairs = [GradePair(case="c", patient=p, level="L1", reference=r, predicted=g) for r, g, p in rows]
    both = sum(r is not None and g is not None for r, g, _ in rows)
    for threshold in (1, 2, 3):
        found = agreement(pairs, threshold)
        assert found.sensitivity.of + found.specificity.of == both
    assert sum(map(sum, confusion(pairs))) == sum(r is not None for r, _, _ in rows)
    assert len(per_patient(pairs)) == len({p for r, g, p in rows if r is not None and g is not None})


@settings(max_examples=60, deadline=None)
@given(of=st.integers(1, 500), data=st.data())
def test_a_wilson_interval_holds_its_share_and_stays_within_0_and_1(of: int, data: st.DataObject) -> None:
    share = Share(hits=data.draw(st.integers(0, of)), of=of)
    low, high = share.interval95 or (2.0, -1.0)
    assert 0.0 <= low <= share.hits / of <= high <= 1.0
