"""What a job queue must do: at least once, with a fencing token that makes it effectively once."""

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on one job until it expires; ``token`` rises with every lease of the job."""

    job_id: int
    version_id: int
    token: int
    attempt: int


class JobQueue(Protocol):
    """Jobs in the ledger's own transactions: a job exists exactly if the state that asks for it was committed."""

    def enqueue(self, connection: Connection, version_id: int, now: float) -> None:
        """Add a job that is ready at once."""

    def lease(self, connection: Connection, owner: str, now: float) -> Lease | None:
        """Take the job that has been ready longest, if there is one; counts as an attempt."""

    def renew(self, connection: Connection, lease: Lease, now: float) -> bool:
        """Sign of life. False: the lease is lost (expired and taken, or cancelled); the work is to be dropped."""

    def finish(self, connection: Connection, lease: Lease) -> bool:
        """The job is done. False: the lease is lost, and nothing of this work may be kept."""

    def put_back(self, connection: Connection, lease: Lease, *, error: str, available_at: float, counts: bool = True) -> bool:
        """Another attempt later; ``counts`` False takes the attempt back. False: the lease is lost."""

    def bury(self, connection: Connection, lease: Lease, error: str) -> bool:
        """No further attempt. False: the lease is lost."""

    def sweep(self, connection: Connection, now: float, *, all_but_owner: str | None = None) -> list[Lease]:
        """Make the jobs of dead workers ready again: expired leases, or all leases of other owners; returns what they were."""
