"""What becomes of each received object."""

import pytest
from pydicom.uid import EncapsulatedPDFStorage, MRImageStorage, SecondaryCaptureImageStorage
from sqlalchemy import select

from builders.ledger import enter, states_of
from builders.small_ct import small_ct
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.queries import count_instances, list_studies
from trabecula_service.ledger.schema import instances
from trabecula_service.ledger.states import State
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.receive.completion import settle_due
from trabecula_service.receive.header import Unreadable, read_header
from trabecula_service.receive.intake import Kind
from trabecula_service.settings.receive import SeriesSettings

QUIET = SeriesSettings(quiet_seconds=10.0, hard_cap_seconds=100.0)


def _settle(ledger: Ledger, now: float) -> int:
    with ledger.write() as connection:
        return settle_due(connection, LeaseTable(lease_seconds=60.0), QUIET, now)


def test_the_same_bytes_again_are_counted_but_make_no_work(ledger: Ledger) -> None:
    (slice_,) = small_ct(slices=1)
    enter(ledger, slice_, 0.0)
    again = enter(ledger, slice_, 1.0)
    assert (again.kind, again.repeated) == (Kind.CT, True)
    with ledger.read() as connection:
        assert count_instances(connection) == {"ct": 1, "other": 0, "own_result": 0, "unreadable": 0, "conflict": 0, "repeats": 1}


def test_the_same_bytes_after_the_result_do_not_make_a_version(ledger: Ledger) -> None:
    (slice_,) = small_ct(slices=1)
    enter(ledger, slice_, 0.0)
    _settle(ledger, 20.0)
    enter(ledger, slice_, 30.0)
    assert states_of(ledger) == [(1, State.QUEUED)]


def test_other_bytes_under_a_known_uid_are_set_aside_and_the_first_are_kept(ledger: Ledger) -> None:
    (slice_,) = small_ct(slices=1)
    enter(ledger, slice_, 0.0)
    slice_.RescaleIntercept = 0
    other = enter(ledger, slice_, 1.0)
    assert other.kind is Kind.CONFLICT
    assert "another content" in other.reason
    with ledger.read() as connection:
        kinds = connection.execute(select(instances.c.kind).order_by(instances.c.id)).scalars().all()
    assert kinds == ["ct", "conflict"]


def test_two_patients_under_one_study_uid_are_never_mixed(ledger: Ledger) -> None:
    first, second = small_ct(slices=2)
    enter(ledger, first, 0.0)
    second.PatientID = "4712"
    assert enter(ledger, second, 1.0).kind is Kind.CONFLICT


@pytest.mark.parametrize("sop_class", [EncapsulatedPDFStorage, SecondaryCaptureImageStorage, "1.2.840.10008.5.1.4.1.1.88.34"])
def test_own_results_that_come_back_are_no_input(ledger: Ledger, sop_class: str) -> None:
    (document,) = small_ct(slices=1, Manufacturer="Trabecula")
    document.SOPClassUID = sop_class
    assert enter(ledger, document, 0.0).kind is Kind.OWN_RESULT
    assert states_of(ledger) == []


def test_a_phantom_ct_made_by_this_product_is_analysed(ledger: Ledger) -> None:
    (image,) = small_ct(slices=1, Manufacturer="Trabecula")
    assert enter(ledger, image, 0.0).kind is Kind.CT


def test_a_late_slice_makes_the_next_version_and_the_old_one_is_superseded(ledger: Ledger) -> None:
    early, late = small_ct(slices=2)
    enter(ledger, early, 0.0)
    _settle(ledger, 20.0)
    enter(ledger, late, 30.0)
    assert states_of(ledger) == [(1, State.SUPERSEDED), (2, State.RECEIVING)]
    with ledger.write() as connection:
        assert LeaseTable(lease_seconds=60.0).lease(connection, "worker", 31.0) is None, "the job of version 1 is cancelled"


def test_a_late_object_that_is_no_ct_changes_nothing(ledger: Ledger) -> None:
    image, other = small_ct(slices=2)
    enter(ledger, image, 0.0)
    _settle(ledger, 20.0)
    other.SOPClassUID = MRImageStorage
    assert enter(ledger, other, 30.0).kind is Kind.OTHER
    assert states_of(ledger) == [(1, State.QUEUED)]


def test_a_study_without_ct_ends_with_a_reason(ledger: Ledger) -> None:
    (image,) = small_ct(slices=1)
    image.SOPClassUID = MRImageStorage
    enter(ledger, image, 0.0)
    assert _settle(ledger, 20.0) == 1
    with ledger.read() as connection:
        (study,) = list_studies(connection, state=None, limit=10, offset=0)
    assert (study.state, study.code) == (State.SKIPPED, "NOT_CT")
    assert "no CT image" in study.reason


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_header_without_a_uid_is_unreadable_by_name(keyword: str) -> None:
    from pynetdicom.dsutils import encode

    (image,) = small_ct(slices=1)
    setattr(image, keyword, "")
    assert read_header(encode(image, False, True) or b"", "1.2.840.10008.1.2.1") == Unreadable(f"the data set has no {keyword}")
