"""States of a study version and the only way to change one: with a time, an actor and a reason."""

from enum import StrEnum

from sqlalchemy import Connection, insert, select, update

from trabecula_morphometry.errors import TrabeculaError
from trabecula_service.ledger.schema import events, versions


class State(StrEnum):
    """States of a study version, in the order in which a good day meets them."""

    RECEIVING = "receiving"
    SETTLED = "settled"
    QUEUED = "queued"
    RUNNING = "running"
    MEASURED = "measured"
    DELIVERING = "delivering"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    SUPERSEDED = "superseded"


END_STATES = frozenset({State.DONE, State.SKIPPED, State.FAILED, State.SUPERSEDED})

_NEXT: dict[State, frozenset[State]] = {
    State.RECEIVING: frozenset({State.SETTLED}),
    State.SETTLED: frozenset({State.QUEUED, State.SKIPPED, State.FAILED, State.SUPERSEDED}),
    State.QUEUED: frozenset({State.RUNNING, State.FAILED, State.SUPERSEDED}),
    State.RUNNING: frozenset({State.MEASURED, State.SKIPPED, State.FAILED, State.QUEUED, State.SUPERSEDED}),
    State.MEASURED: frozenset({State.DELIVERING, State.DONE, State.SUPERSEDED}),
    State.DELIVERING: frozenset({State.DONE, State.FAILED, State.SUPERSEDED}),
    # A person may ask for another try of what failed or was skipped.
    State.FAILED: frozenset({State.QUEUED, State.DELIVERING, State.SUPERSEDED}),
    State.SKIPPED: frozenset({State.QUEUED, State.SUPERSEDED}),
    State.DONE: frozenset({State.SUPERSEDED}),
    State.SUPERSEDED: frozenset(),
}


class StateError(TrabeculaError):
    """A study version cannot go from its state to the one asked for."""


def may_follow(old: State, new: State) -> bool:
    """Whether a version may go from one state to the other."""
    return new in _NEXT[old]


def move(connection: Connection, version_id: int, to: State, *, reason: str, actor: str, now: float) -> None:
    """Change the state of a version and write the event, in the caller's transaction.

    Raises
    ------
    StateError
        If the arrow does not exist or no reason is given: silence is the one thing that the ledger does not take.
    """
    row = connection.execute(select(versions.c.study_id, versions.c.number, versions.c.state).where(versions.c.id == version_id)).one()
    old = State(row.state)
    if not may_follow(old, to):
        raise StateError(f"a study version cannot go from {old} to {to}", where=f"study {row.study_id} version {row.number}")
    if not reason.strip():
        raise StateError(f"no reason given for going to {to}", where=f"study {row.study_id} version {row.number}")
    connection.execute(update(versions).where(versions.c.id == version_id).values(state=to, reason=reason, state_since=now, progress=""))
    add_event(connection, row.study_id, row.number, from_state=old, to_state=to, reason=reason, actor=actor, now=now)


def add_event(
    connection: Connection,
    study_id: str | None,
    version_number: int | None,
    *,
    reason: str,
    actor: str,
    now: float,
    from_state: str = "",
    to_state: str = "",
) -> None:
    """Write one row of history; without states it is a note."""
    connection.execute(
        insert(events).values(
            at=now, study_id=study_id, version_number=version_number, actor=actor, from_state=from_state, to_state=to_state, reason=reason
        )
    )
