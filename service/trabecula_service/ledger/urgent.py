"""A person puts a study that waits for its analysis before all others."""

from sqlalchemy import Connection, select, update

from trabecula_service.ledger.queries import find_study
from trabecula_service.ledger.schema import studies
from trabecula_service.ledger.states import State, StateError, add_event
from trabecula_service.queue.port import JobQueue, Priority

WAITING = frozenset({State.RECEIVING, State.SETTLED, State.QUEUED})
"""States of a study whose analysis has not begun."""


def is_first(connection: Connection, study_id: str) -> bool:
    """Whether a study goes before all others already."""
    return connection.execute(select(studies.c.priority).where(studies.c.id == study_id)).scalar() == Priority.STAT


def put_first(connection: Connection, queue: JobQueue, study_id: str, *, actor: str, now: float) -> None:
    """Give a waiting study, and every later version of it, the highest priority; a note in its history says who did.

    Raises
    ------
    StateError
        If the study does not wait any more.
    KeyError
        If there is no such study.
    """
    study = find_study(connection, study_id)
    if study is None:
        raise KeyError(study_id)
    if study.state not in WAITING:
        raise StateError(f"the study is {study.state}: only one that waits can be put first", where=f"study {study_id}")
    if is_first(connection, study_id):
        return
    connection.execute(update(studies).where(studies.c.id == study_id).values(priority=Priority.STAT))
    queue.reprioritise(connection, study.version_id)
    add_event(connection, study_id, study.version, reason="put before all others by hand", actor=actor, now=now)
