"""How old the work of each stage is, and the account that must always add up."""

from sqlalchemy import Connection, func, select

from trabecula_service.ledger.queries import count_states
from trabecula_service.ledger.schema import studies, versions
from trabecula_service.ledger.states import END_STATES, State

_WAITING = (State.SETTLED, State.QUEUED, State.RUNNING)
_PARTS = {State.DONE: "reported", State.SKIPPED: "refused", State.FAILED: "failed"}


def oldest_by_state(connection: Connection) -> dict[State, float]:
    """Since when the oldest version of each state that is not an end has been in it; states without one are left out."""
    open_states = [state for state in State if state not in END_STATES]
    rows = connection.execute(
        select(versions.c.state, func.min(versions.c.state_since)).where(versions.c.state.in_(open_states)).group_by(versions.c.state)
    )
    return {State(row[0]): float(row[1]) for row in rows}


def oldest_waiting_by_priority(connection: Connection) -> dict[int, float]:
    """When the first object of the longest waiting study of each priority came."""
    rows = connection.execute(
        select(studies.c.priority, func.min(versions.c.first_object_at))
        .join(versions, versions.c.study_id == studies.c.id)
        .where(versions.c.state.in_(_WAITING))
        .group_by(studies.c.priority)
    )
    return {int(row[0]): float(row[1]) for row in rows}


def account(connection: Connection) -> dict[str, int]:
    """Studies received = reported + refused (with a reason) + failed (wait for a person) + pending; from one view of the ledger."""
    counts = count_states(connection)
    parts = {"reported": 0, "refused": 0, "failed": 0, "pending": 0}
    for state, count in counts.items():
        parts[_PARTS.get(state, "pending")] += count
    received = int(connection.execute(select(func.count()).select_from(studies)).scalar_one())
    return {"received": received, **parts}
