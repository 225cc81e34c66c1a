"""Images that come after a signature: nothing of the signature is lost, and nobody is told that the new version is signed."""

from pathlib import Path

from sqlalchemy import update

from builders.ledger import enter, states_of
from builders.results import Column, column_result
from builders.small_ct import small_ct
from trabecula_service.ledger.database import open_ledger
from trabecula_service.ledger.reviews import NewReview, enter_review, list_reviews, note_result
from trabecula_service.ledger.schema import studies, versions
from trabecula_service.ledger.states import State
from trabecula_service.ledger.work_list import Show, WorkFilter, list_work
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.review.edits import Edits, Verdict

RESULT = column_result(Column(names=("T12", "L1", "L2")))


def test_a_late_slice_after_the_signature_makes_an_unsigned_version_and_keeps_the_review(tmp_path: Path) -> None:
    ledger, queue = open_ledger(tmp_path / "ledger.sqlite"), LeaseTable(lease_seconds=60.0)
    early, late = small_ct(slices=2)
    study_id = enter(ledger, early, 0.0).study_id
    assert study_id is not None
    with ledger.write() as connection:
        connection.execute(update(versions).values(state=State.DONE, result_json=RESULT.to_json()))
        connection.execute(update(studies).values(state=State.DONE))
        note_result(connection, 1, RESULT)
        review = NewReview(
            verdict=Verdict.ACCEPTED, reader="Muster, Anna", organization="Klinik", reason="", edits=Edits(), entered_by="page"
        )
        assert enter_review(connection, queue, study_id, 1, review, now=10.0) == 2
    with ledger.read() as connection:
        assert [row.verdict for row in list_work(connection, WorkFilter(show=Show.SIGNED), limit=5, offset=0)] == ["accepted"]
    enter(ledger, late, 20.0)
    assert states_of(ledger) == [(1, State.SUPERSEDED), (2, State.SUPERSEDED), (3, State.RECEIVING)]
    with ledger.read() as connection:
        assert list_work(connection, WorkFilter(show=Show.SIGNED), limit=5, offset=0) == []
        assert list_work(connection, WorkFilter(show=Show.TO_READ), limit=5, offset=0) == []
        (kept,) = list_reviews(connection, study_id)
    with ledger.write() as connection:
        assert queue.lease(connection, "worker", 21.0) is None, "the signing that was under way is cancelled"
    assert (kept.reader, kept.version_number, kept.base_version_number) == ("Muster, Anna", 2, 1)
    ledger.close()
