"""When a study counts as complete."""

from sqlalchemy import select

from builders.ledger import enter, states_of
from builders.small_ct import small_ct
from trabecula_service.ledger.database import Ledger, open_ledger
from trabecula_service.ledger.schema import events
from trabecula_service.ledger.states import State
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.receive.completion import settle_due
from trabecula_service.receive.intake import close_association, close_lost_associations, open_association
from trabecula_service.settings.receive import SeriesSettings

SETTINGS = SeriesSettings(quiet_seconds=10.0, hard_cap_seconds=100.0)


def _settle(ledger: Ledger, now: float) -> int:
    with ledger.write() as connection:
        return settle_due(connection, LeaseTable(lease_seconds=60.0), SETTINGS, now)


def _open(ledger: Ledger, now: float, run_id: str = "run") -> int:
    with ledger.write() as connection:
        return open_association(connection, run_id, "CT1", "127.0.0.1", now)


def test_quiet_time_counts_from_the_last_object(ledger: Ledger) -> None:
    first, second = small_ct(slices=2)
    enter(ledger, first, 0.0)
    enter(ledger, second, 8.0)
    assert _settle(ledger, 17.9) == 0
    assert _settle(ledger, 18.0) == 1


def test_an_open_association_holds_the_study_open(ledger: Ledger) -> None:
    association = _open(ledger, 0.0)
    enter(ledger, small_ct(slices=1)[0], 0.0, association_id=association)
    assert _settle(ledger, 50.0) == 0
    with ledger.write() as connection:
        close_association(connection, association, "aborted", 50.0)
    assert _settle(ledger, 59.9) == 0
    assert _settle(ledger, 60.0) == 1


def test_the_hard_cap_ends_a_study_that_never_falls_quiet(ledger: Ledger) -> None:
    for number, image in enumerate(small_ct(slices=21)):
        enter(ledger, image, number * 5.0)
    assert _settle(ledger, 100.0) == 1


def test_a_restart_inside_the_quiet_time_changes_nothing(ledger: Ledger) -> None:
    association = _open(ledger, 0.0, run_id="before")
    enter(ledger, small_ct(slices=1)[0], 0.0, association_id=association)
    again = open_ledger(ledger.where)
    with again.write() as connection:
        assert close_lost_associations(connection, "after", 3.0) == 1
    assert _settle(again, 12.9) == 0
    assert _settle(again, 13.0) == 1
    assert states_of(again) == [(1, State.QUEUED)]
    again.close()


def test_a_clock_that_is_set_back_does_not_strand_a_study(ledger: Ledger) -> None:
    enter(ledger, small_ct(slices=1)[0], 1_000_000.0)
    assert _settle(ledger, 0.0) == 0
    assert _settle(ledger, 10.0) == 1


def test_studies_settle_apart_from_one_another(ledger: Ledger) -> None:
    enter(ledger, small_ct(slices=1)[0], 0.0)
    enter(ledger, small_ct(slices=1)[0], 9.0)
    assert _settle(ledger, 12.0) == 1
    assert states_of(ledger) == [(1, State.QUEUED), (1, State.RECEIVING)]


def test_a_study_is_complete_as_soon_as_all_announced_objects_have_come(ledger: Ledger) -> None:
    images = small_ct(slices=3, NumberOfStudyRelatedInstances="3")
    for number, image in enumerate(images[:2]):
        enter(ledger, image, float(number))
    assert _settle(ledger, 50.0) == 0, "the quiet time is over, but one is missing"
    enter(ledger, images[2], 51.0)
    assert _settle(ledger, 51.0) == 1


def test_announced_objects_that_never_come_are_waited_for_only_so_long(ledger: Ledger) -> None:
    enter(ledger, small_ct(slices=1, NumberOfStudyRelatedInstances="3")[0], 0.0)
    settings = SeriesSettings(quiet_seconds=10.0, announced_seconds=40.0, hard_cap_seconds=1000.0)
    with ledger.write() as connection:
        assert settle_due(connection, LeaseTable(lease_seconds=60.0), settings, 39.0) == 0
        assert settle_due(connection, LeaseTable(lease_seconds=60.0), settings, 40.0) == 1
        reasons = connection.execute(select(events.c.reason).where(events.c.to_state == State.SETTLED)).scalars().all()
    assert reasons == ["1 of 3 announced objects have come, and none for 40 s"]
