"""Derived UIDs: one content, one UID."""

from dataclasses import replace
from datetime import timedelta

from pydicom.uid import UID

from builders.results import Column, column_input
from trabecula_service.render.uids import derived_uid, frame_of_reference_uid, tracking_uid

SMALL = Column(names=("L1", "L2"))


def test_same_input_gives_the_same_uid_and_a_valid_one() -> None:
    assert derived_uid(column_input(SMALL), "report") == derived_uid(column_input(SMALL), "report")
    assert UID(derived_uid(column_input(SMALL), "report")).is_valid


def test_every_change_of_content_changes_the_uid() -> None:
    made = column_input(SMALL)
    source = made.result.source.model_copy(update={"content_sha256": "00" * 32})
    software = made.result.software.model_copy(update={"version": "9.9"})
    others = [
        replace(made, version=2),
        replace(made, created=made.created + timedelta(seconds=1)),
        replace(made, result=made.result.model_copy(update={"source": source})),
        replace(made, result=made.result.model_copy(update={"software": software})),
        replace(made, result=made.result.model_copy(update={"status": "partial"})),
    ]
    uids = {derived_uid(item, "report") for item in (made, *others)} | {derived_uid(made, "segmentation")}
    assert len(uids) == len(others) + 2


def test_how_long_the_stages_took_does_not_change_the_uid() -> None:
    made = column_input(SMALL)
    slower = replace(made, result=made.result.model_copy(update={"timing_s": {"locate": 9.0}}))
    assert derived_uid(slower, "report") == derived_uid(made, "report")


def test_a_vertebra_keeps_its_tracking_uid_over_versions() -> None:
    assert tracking_uid("1.2", "1.2.3", "L1") == tracking_uid("1.2", "1.2.3", "L1")
    assert tracking_uid("1.2", "1.2.3", "L1") != tracking_uid("1.2", "1.2.3", "L2")


def test_a_missing_frame_of_reference_is_stood_in_for_by_one_of_the_series() -> None:
    assert frame_of_reference_uid("1.2.3", "1.9") == "1.9"
    assert frame_of_reference_uid("1.2.3", None) == frame_of_reference_uid("1.2.3", None) != frame_of_reference_uid("1.2.4", None)
