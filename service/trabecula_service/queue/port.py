"""What a job queue must do: at least once, with a fencing token that makes it effectively once."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from sqlalchemy import Connection, select

from trabecula_service.ledger.schema import studies, versions


class Priority(IntEnum):
    """Who goes first; kept with the study, so that every attempt and every later version has it."""

    BACKFILL = -10
    """Studies fetched from an archive: only while nothing else waits."""
    ROUTINE = 0
    STAT = 10
    """Somebody waits for this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on one job until it expires; ``token`` rises with every lease of the job."""

    job_id: int
    version_id: int
    token: int
    attempt: int


PriorityOf = Callable[[Connection, int], int]
"""Says the priority of the study that a version (its id) belongs to, when its analysis is asked for."""


class JobQueue(Protocol):
    """Jobs in the ledger's own transactions: a job exists exactly if the state that asks for it was committed.

    Times are seconds since 1970 by the worker's clock. A queue that many machines share goes by the database's clock instead, because
    theirs differ, and takes ``now`` for a hint at most.
    """

    def enqueue(self, connection: Connection, version_id: int, now: float) -> None:
        """Add a job that is ready at once, with the priority of its study."""

    def lease(self, connection: Connection, owner: str, now: float) -> Lease | None:
        """Take a job that is ready, of the highest priority the one that waits longest; counts as an attempt. None if there is none."""

    def renew(self, connection: Connection, lease: Lease, now: float) -> bool:
        """Sign of life. False: the lease is lost (expired and taken, or cancelled); the work is to be dropped."""

    def reprioritise(self, connection: Connection, version_id: int) -> None:
        """The job of a version that waits, if there is one, gets the priority that its study has now."""

    def finish(self, connection: Connection, lease: Lease) -> bool:
        """The job is done. False: the lease is lost, and nothing of this work may be kept."""

    def put_back(self, connection: Connection, lease: Lease, *, error: str, available_at: float, counts: bool = True) -> bool:
        """Another attempt later; ``counts`` False takes the attempt back. False: the lease is lost."""

    def bury(self, connection: Connection, lease: Lease, error: str) -> bool:
        """No further attempt. False: the lease is lost."""

    def sweep(self, connection: Connection, now: float, *, all_but_owner: str | None = None) -> list[Lease]:
        """Make the jobs of dead workers ready again: expired leases, or all leases of other owners; returns what they were."""


def priority_of(connection: Connection, version_id: int) -> int:
    """The priority of the study that a version belongs to."""
    query = select(studies.c.priority).join(versions, versions.c.study_id == studies.c.id).where(versions.c.id == version_id)
    return int(connection.execute(query).scalar_one())
