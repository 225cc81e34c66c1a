"""The job queue of one machine: a table with leases in the ledger's SQLite file."""

from sqlalchemy import ColumnElement, Connection, insert, or_, select, update

from trabecula_service.ledger.schema import jobs
from trabecula_service.queue.port import Lease, PriorityOf, priority_of

_LONGEST_WAIT_SECONDS = 2 * 3600.0
"""Twice the longest wait before another attempt: a job that is put off further was written by a clock that was set back since."""


class LeaseTable:
    """``JobQueue`` on the table ``jobs``; the ledger's write transactions make each step atomic."""

    def __init__(self, *, lease_seconds: float, priority: PriorityOf = priority_of) -> None:
        self._lease_seconds, self._priority = lease_seconds, priority

    def enqueue(self, connection: Connection, version_id: int, now: float) -> None:
        """Add a job that is ready at once, with the priority of its study."""
        priority = self._priority(connection, version_id)
        connection.execute(insert(jobs).values(version_id=version_id, state="ready", available_at=now, priority=priority))

    def lease(self, connection: Connection, owner: str, now: float) -> Lease | None:
        """Take a job that is ready, of the highest priority the one that waits longest; counts as an attempt."""
        row = connection.execute(
            select(jobs)
            .where(jobs.c.state == "ready", jobs.c.available_at <= now)
            .order_by(jobs.c.priority.desc(), jobs.c.available_at, jobs.c.id)
            .limit(1)
        ).first()
        if row is None:
            return None
        lease = Lease(job_id=row.id, version_id=row.version_id, token=row.token + 1, attempt=row.attempts + 1)
        connection.execute(
            update(jobs)
            .where(jobs.c.id == row.id)
            .values(state="leased", owner=owner, token=lease.token, attempts=lease.attempt, leased_until=now + self._lease_seconds)
        )
        return lease

    def renew(self, connection: Connection, lease: Lease, now: float) -> bool:
        """Sign of life; False if the lease is lost."""
        return self._change(connection, lease, leased_until=now + self._lease_seconds)

    def reprioritise(self, connection: Connection, version_id: int) -> None:
        """A waiting job gets the priority that its study has now."""
        waiting = (jobs.c.version_id == version_id) & (jobs.c.state == "ready")
        connection.execute(update(jobs).where(waiting).values(priority=self._priority(connection, version_id)))

    def finish(self, connection: Connection, lease: Lease) -> bool:
        """The job is done; False if the lease is lost."""
        return self._change(connection, lease, state="done", leased_until=None)

    def put_back(self, connection: Connection, lease: Lease, *, error: str, available_at: float, counts: bool = True) -> bool:
        """Another attempt later; False if the lease is lost."""
        attempts = lease.attempt if counts else lease.attempt - 1
        return self._change(
            connection, lease, state="ready", attempts=attempts, leased_until=None, last_error=error, available_at=available_at
        )

    def bury(self, connection: Connection, lease: Lease, error: str) -> bool:
        """No further attempt; False if the lease is lost."""
        return self._change(connection, lease, state="dead", leased_until=None, last_error=error)

    def sweep(self, connection: Connection, now: float, *, all_but_owner: str | None = None) -> list[Lease]:
        """Make the jobs of dead workers ready again."""
        # A lease that ends later than any could have been given was written by a clock that was set back since.
        put_off = (jobs.c.state == "ready") & (jobs.c.available_at > now + _LONGEST_WAIT_SECONDS)
        connection.execute(update(jobs).where(put_off).values(available_at=now))
        gone = or_(jobs.c.leased_until < now, jobs.c.leased_until > now + 2 * self._lease_seconds)
        condition: ColumnElement[bool] = jobs.c.owner != all_but_owner if all_but_owner is not None else gone
        rows = connection.execute(select(jobs).where(jobs.c.state == "leased", condition)).all()
        leases = [Lease(job_id=row.id, version_id=row.version_id, token=row.token, attempt=row.attempts) for row in rows]
        for lease in leases:
            connection.execute(update(jobs).where(jobs.c.id == lease.job_id).values(state="ready", leased_until=None, available_at=now))
        return leases

    def _change(self, connection: Connection, lease: Lease, **values: object) -> bool:
        ours = (jobs.c.id == lease.job_id) & (jobs.c.token == lease.token) & (jobs.c.state == "leased")
        return connection.execute(update(jobs).where(ours).values(**values)).rowcount == 1
