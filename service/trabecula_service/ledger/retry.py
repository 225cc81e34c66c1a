"""A person asks for another try of a study that failed or was skipped."""

from sqlalchemy import Connection

from trabecula_service.ledger.outbox import repost_failed
from trabecula_service.ledger.queries import find_study
from trabecula_service.ledger.states import State, StateError, move
from trabecula_service.queue.port import JobQueue

_REASON = "another try was asked for"


def retry_study(connection: Connection, queue: JobQueue, study_id: str, *, actor: str, now: float) -> State:
    """Try the latest version again: its deliveries if those failed, its analysis otherwise; the state it goes to.

    Raises
    ------
    StateError
        If the study is in a state from which there is nothing to try again.
    KeyError
        If there is no such study.
    """
    study = find_study(connection, study_id)
    if study is None:
        raise KeyError(study_id)
    if study.state not in (State.FAILED, State.SKIPPED):
        raise StateError(f"the study is {study.state}: only one that failed or was skipped can be tried again", where=f"study {study_id}")
    if study.code == "NOT_CT" and study.headline == "":
        raise StateError("the study has no CT image, so another try would end the same way", where=f"study {study_id}")
    if study.state is State.FAILED and repost_failed(connection, study.version_id, now):
        move(connection, study.version_id, State.DELIVERING, reason=_REASON, actor=actor, now=now)
        return State.DELIVERING
    if study.images_deleted_at is not None:
        raise StateError("images of the study were deleted after the retention time: send it again first", where=f"study {study_id}")
    queue.enqueue(connection, study.version_id, now)
    move(connection, study.version_id, State.QUEUED, reason=_REASON, actor=actor, now=now)
    return State.QUEUED
