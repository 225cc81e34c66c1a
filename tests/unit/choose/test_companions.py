"""Which series are parts of one spine, and which are only another look at the same part."""

from dataclasses import replace

import pytest

from trabecula_service.choose.companions import Region, companions

LUMBAR = Region(
    study_instance_uid="1.2",
    series_instance_uid="lumbar",
    frame_of_reference_uid="1.2.9",
    low_mm=0.0,
    high_mm=250.0,
    slice_step_mm=1.0,
    kernel_sharpness="soft",
    is_monoenergetic=False,
)
THORACIC = replace(LUMBAR, series_instance_uid="thoracic", low_mm=220.0, high_mm=520.0)
CERVICAL = replace(LUMBAR, series_instance_uid="cervical", low_mm=500.0, high_mm=640.0)


def names(chosen: Region, *others: Region) -> list[str]:
    return [others[index].series_instance_uid for index in companions(chosen, others)]


def test_neck_chest_and_lumbar_spine_belong_together() -> None:
    assert names(LUMBAR, THORACIC, CERVICAL) == ["thoracic", "cervical"]


def test_a_series_that_touches_the_chosen_one_only_through_another_is_found() -> None:
    assert names(LUMBAR, CERVICAL, THORACIC) == ["thoracic", "cervical"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"low_mm": 0.0, "high_mm": 520.0}, id="covers the chosen one"),
        pytest.param({"low_mm": 50.0, "high_mm": 200.0}, id="lies inside it"),
        pytest.param({"low_mm": 100.0, "high_mm": 350.0}, id="shares more than it adds"),
        pytest.param({"low_mm": 240.0, "high_mm": 280.0}, id="adds less than two vertebrae"),
        pytest.param({"low_mm": 320.0, "high_mm": 600.0}, id="is too far away"),
        pytest.param({"frame_of_reference_uid": "1.2.8"}, id="has another frame of reference"),
        pytest.param({"frame_of_reference_uid": ""}, id="has none"),
        pytest.param({"study_instance_uid": "1.3"}, id="is of another study"),
        pytest.param({"series_instance_uid": "lumbar"}, id="is of the same series"),
        pytest.param({"kernel_sharpness": "sharp"}, id="has another kind of kernel"),
        pytest.param({"is_monoenergetic": True}, id="is virtual monoenergetic"),
        pytest.param({"slice_step_mm": 5.0}, id="is a survey of thick slices"),
    ],
)
def test_what_is_no_part_of_the_same_spine(change: dict[str, object]) -> None:
    assert names(LUMBAR, replace(THORACIC, **change)) == []  # type: ignore[arg-type]


def test_a_chosen_series_without_frame_of_reference_stays_alone() -> None:
    alone = replace(LUMBAR, frame_of_reference_uid="")
    assert names(alone, replace(THORACIC, frame_of_reference_uid="")) == []


def test_of_two_series_of_one_region_the_first_is_taken() -> None:
    sagittal = replace(THORACIC, series_instance_uid="sagittal reformat", low_mm=225.0)
    assert names(LUMBAR, THORACIC, sagittal) == ["thoracic"]


def test_a_gap_of_one_body_is_bridged() -> None:
    assert names(LUMBAR, replace(THORACIC, low_mm=285.0)) == ["thoracic"]


def test_no_more_than_four_stacks_are_measured() -> None:
    many = [replace(LUMBAR, series_instance_uid=str(n), low_mm=250.0 * n, high_mm=250.0 * (n + 1)) for n in range(1, 8)]
    assert names(LUMBAR, *many) == ["1", "2", "3"]
