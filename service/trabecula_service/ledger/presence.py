"""Which processes of the service are alive, on whatever machine: each gives a sign of life in the ledger."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from trabecula_service.ledger.database import database_now
from trabecula_service.ledger.schema import associations, processes

SILENCE_SECONDS = 60.0
"""A process that was not heard of for so long counts as gone: twelve times the pause between two signs of life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """One process of the service."""

    run_id: str
    roles: str
    host: str
    started_at: float
    seen_at: float


def give_sign_of_life(connection: Connection, run_id: str, *, roles: str, host: str) -> None:
    """Enter this process, or that it is still there."""
    now = database_now(connection)
    seen = connection.execute(update(processes).where(processes.c.run_id == run_id).values(seen_at=now))
    if not seen.rowcount:
        connection.execute(insert(processes).values(run_id=run_id, roles=roles, host=host, started_at=now, seen_at=now))


def leave(connection: Connection, run_id: str) -> None:
    """This process ends in good order."""
    connection.execute(delete(processes).where(processes.c.run_id == run_id))


def forget_gone(connection: Connection, *, alone: str | None = None) -> int:
    """Remove the processes that gave no sign of life, or all but ``alone``; how many."""
    gone = processes.c.run_id != alone if alone is not None else processes.c.seen_at < database_now(connection) - SILENCE_SECONDS
    return connection.execute(delete(processes).where(gone)).rowcount


def list_processes(connection: Connection) -> list[ProcessRow]:
    """All processes that count as alive, the oldest first."""
    rows = connection.execute(select(processes).order_by(processes.c.started_at, processes.c.run_id))
    return [ProcessRow(**row._asdict()) for row in rows]


def associations_of_the_gone(connection: Connection) -> list[int]:
    """Open associations whose process is no longer there: nobody else will ever close them."""
    living = select(processes.c.run_id)
    query = select(associations.c.id).where(associations.c.closed_at.is_(None), associations.c.run_id.not_in(living))
    return list(connection.execute(query).scalars())
