"""Id-rate and d_mean on cases that can be counted by hand."""

import numpy as np
import pytest

from builders.label_columns import BlockColumn
from trabecula_models.evaluation.case_score import LevelStatus, Prediction, Reference, score_case
from trabecula_models.evaluation.identification import identify
from trabecula_models.evaluation.summary import summarize
from trabecula_morphometry.volume import LabelVolume

COLUMN = BlockColumn()
TRUTH = COLUMN.centers()


def masks_only(column: BlockColumn) -> Prediction:
    return Prediction(masks=column.labels())


def test_a_centre_just_under_20_mm_off_counts_and_one_at_20_mm_does_not() -> None:
    close = identify({20: (0.0, 0.0, 0.0)}, {20: (0.0, 19.99, 0.0)})[20]
    far = identify({20: (0.0, 0.0, 0.0)}, {20: (0.0, 20.0, 0.0)})[20]
    assert (close.hit, far.hit) == (True, False)
    assert far.distance_mm == 20.0


def test_names_shifted_by_one_identify_nothing_in_the_middle() -> None:

    shifted = {label - 1: center for label, center in TRUTH.items()}
    found = identify(TRUTH, shifted)
    assert [found[label].hit for label in (19, 20, 21, 22)] == [False, False, False, False]
    assert found[22].distance_mm is None
    assert found[20].distance_mm == pytest.approx(30.0)


def test_a_centre_nearer_to_its_neighbour_is_no_hit_even_within_20_mm() -> None:
    truth = {8: (0.0, 0.0, 0.0), 9: (0.0, 0.0, -18.0)}
    found = identify(truth, {8: (0.0, 0.0, -10.0), 9: (0.0, 0.0, -18.0)})
    assert (found[8].hit, found[9].hit) == (False, True)


def test_a_missed_level_counts_against_the_rate_but_not_in_d_mean() -> None:
    prediction = {label: (x, y, z + 3.0) for label, (x, y, z) in TRUTH.items() if label != 21}
    case = score_case("a", Reference(masks=COLUMN.labels(), centers_mm=TRUTH), Prediction(masks=COLUMN.labels(), centers_mm=prediction))
    assert case.hits == 3
    assert case.distances_mm == pytest.approx((3.0, 3.0, 3.0))
    one = summarize([case], "")
    assert one.id_rate == 0.75
    assert one.d_mean_mm == pytest.approx(3.0)
    assert one.cases_all_right == 0


def test_d_mean_runs_over_all_vertebrae_of_the_set_not_over_cases() -> None:
    few = BlockColumn(levels=("L1",))
    cases = [
        score_case("a", Reference(masks=COLUMN.labels()), masks_only(BlockColumn(shift_mm=(4.0, 0.0, 0.0)))),
        score_case("b", Reference(masks=few.labels()), masks_only(few)),
    ]
    assert summarize(cases, "").d_mean_mm == pytest.approx(4 * 4.0 / 5)


def test_an_extra_level_costs_precision_and_the_strict_mean_only() -> None:
    more = BlockColumn(levels=("T12", "L1", "L2", "L3", "L4"))
    case = score_case("a", Reference(masks=COLUMN.labels()), masks_only(more))
    one = summarize([case], "")
    assert (one.id_rate, one.precision, one.extra) == (1.0, 4 / 5, 1)
    assert (case.dice_mean, case.dice_mean_strict) == (1.0, 4 / 5)
    assert case.levels[-1].status is LevelStatus.EXTRA
    assert case.spine.dice == pytest.approx(2 * 4 / (4 + 5))


def test_an_extra_level_where_the_reference_labels_nothing_is_marked_and_set_aside_for_the_spine() -> None:
    more = BlockColumn(levels=("T12", "L1", "L2", "L3", "L4"))
    case = score_case("a", Reference(masks=COLUMN.labels()), masks_only(more))
    assert [level.unannotated for level in case.levels] == [False] * 4 + [True]
    assert case.spine_annotated.dice == 1.0


def test_an_extra_name_on_an_annotated_vertebra_stays_in_the_spine() -> None:
    renamed = COLUMN.labels().labels_zyx.copy()
    renamed[renamed == 22] = 25
    case = score_case("a", Reference(masks=COLUMN.labels()), Prediction(masks=LabelVolume(labels_zyx=renamed, grid=COLUMN.grid())))
    extra = next(level for level in case.levels if level.level == "L6")
    assert (extra.status, extra.unannotated) == (LevelStatus.EXTRA, False)
    assert case.spine_annotated.dice == case.spine.dice == 1.0
    assert (extra.annotated_share, extra.misnamed, case.misnamed) == (1.0, True, True)


def test_a_level_without_a_centre_in_the_reference_is_not_judged_by_name() -> None:
    three = {label: center for label, center in TRUTH.items() if label != 22}
    prediction = Prediction(masks=COLUMN.labels(), centers_mm=TRUTH)
    one = summarize([score_case("a", Reference(masks=COLUMN.labels(), centers_mm=three), prediction)], "")
    assert (one.vertebrae, one.judged, one.id_rate, one.cases_all_right) == (4, 3, 1.0, 1)


def test_a_missed_level_is_no_wrong_name() -> None:
    case = score_case("a", Reference(masks=COLUMN.labels()), masks_only(BlockColumn(levels=("T12", "L1", "L2"))))
    assert not case.misnamed


def test_nothing_predicted_is_all_missed() -> None:
    case = score_case("a", Reference(masks=COLUMN.labels(), centers_mm=TRUTH), Prediction(masks=None, note="not evaluable: NO_SPINE"))
    assert (case.hits, case.count(LevelStatus.MISSED), case.dice_mean, case.hd95_mean_mm) == (0, 4, 0.0, None)
    assert case.note == "not evaluable: NO_SPINE"
    assert summarize([case], "").precision is None


def test_a_prediction_on_another_grid_is_sampled_at_the_references_voxels() -> None:
    case = score_case("a", Reference(masks=COLUMN.labels()), masks_only(BlockColumn(spacing_mm=(1.0, 1.0, 1.0))))
    assert case.dice_mean is not None
    assert case.dice_mean > 0.93
    assert case.hits == 4


def test_centres_are_compared_like_with_like() -> None:
    # The dataset's centres are those of bodies, 12 mm in front of the whole vertebra's: a mask's centre of mass is no rival of them.
    in_front = {label: (x, y - 12.0, z) for label, (x, y, z) in TRUTH.items()}
    case = score_case("a", Reference(masks=COLUMN.labels(), centers_mm=in_front), masks_only(COLUMN))
    assert (case.centers_from, case.distances_mm) == ("masks", (0.0, 0.0, 0.0, 0.0))


def test_misnamed_yet_certain_is_counted_only_where_the_predictor_says_how_sure_it_is() -> None:
    renamed = BlockColumn(levels=("L1", "L2", "L3", "L4"))
    reference = Reference(masks=COLUMN.labels(), centers_mm=TRUTH)
    sure = score_case("a", reference, Prediction(masks=renamed.labels(), centers_mm=renamed.centers(), numbering_certain=True))
    unsure = score_case("b", reference, Prediction(masks=renamed.labels(), centers_mm=renamed.centers(), numbering_certain=False))
    silent = score_case("c", reference, Prediction(masks=renamed.labels(), centers_mm=renamed.centers()))
    assert summarize([sure, unsure, silent], "").cases_misnamed_yet_certain == 1
    assert summarize([silent], "").cases_misnamed_yet_certain is None
    assert np.isclose(summarize([sure], "").id_rate or 0.0, 0.0)
