"""The job queue of many machines: Procrastinate's tables in the ledger's PostgreSQL database.

Procrastinate keeps what waits (order, priority, time of the next attempt) and hands each job to one worker; the ledger's table ``jobs``
keeps what the rest of the service asks about (state, attempts, fencing token, last error) and when a lease ends. Both are written in the
caller's transaction, through the SQL functions that Procrastinate's own worker calls. It leaves the recovery of dead workers to its
user: that is ``sweep`` here.
"""

import json
from typing import Any

from sqlalchemy import Connection, Row, insert, select, text, update

from trabecula_service.ledger.database import database_now
from trabecula_service.ledger.schema import jobs
from trabecula_service.queue.port import Lease, PriorityOf, priority_of

QUEUE, TASK = "analysis", "trabecula.analyse"


class ProcrastinateQueue:
    """``JobQueue`` on Procrastinate. All times are the database's: the clocks of the machines differ.

    Parameters
    ----------
    lease_seconds : a worker that gives no sign of life for so long loses its job.
    priority : asked once for each job.
    """

    def __init__(self, *, lease_seconds: float, priority: PriorityOf = priority_of) -> None:
        self._lease_seconds, self._priority = lease_seconds, priority
        self._worker_ids: dict[str, int] = {}

    def enqueue(self, connection: Connection, version_id: int, now: float) -> None:
        """Add a job that is ready at once, with the priority of its study."""
        del now
        priority = self._priority(connection, version_id)
        values = {"version_id": version_id, "state": "ready", "available_at": database_now(connection), "priority": priority}
        job_id = connection.execute(insert(jobs).values(**values).returning(jobs.c.id)).scalar_one()
        self._dispatch(connection, job_id, priority, at=None)

    def lease(self, connection: Connection, owner: str, now: float) -> Lease | None:
        """Take a job that is ready, of the highest priority the one that waits longest; counts as an attempt."""
        del now
        worker_id = self._worker_id(connection, owner)
        while True:
            fetched = connection.execute(
                text("SELECT id, args FROM procrastinate_fetch_job_v2(ARRAY[:queue]::varchar[], :worker)"),
                {"queue": QUEUE, "worker": worker_id},
            ).one()
            if fetched.id is None:
                return None
            row = connection.execute(select(jobs).where(jobs.c.dispatch_id == fetched.id, jobs.c.state == "ready")).first()
            if row is None:
                # Cancelled while it waited: later images took the place of its version.
                self._end_dispatch(connection, fetched.id)
                continue
            lease = Lease(job_id=row.id, version_id=row.version_id, token=row.token + 1, attempt=row.attempts + 1)
            until = database_now(connection) + self._lease_seconds
            values = {"state": "leased", "owner": owner, "token": lease.token, "attempts": lease.attempt, "leased_until": until}
            connection.execute(update(jobs).where(jobs.c.id == row.id).values(**values))
            return lease

    def renew(self, connection: Connection, lease: Lease, now: float) -> bool:
        """Sign of life; False if the lease is lost."""
        del now
        row = self._own(connection, lease)
        if row is None:
            return False
        self._worker_id(connection, row.owner)
        until = database_now(connection) + self._lease_seconds
        connection.execute(update(jobs).where(jobs.c.id == lease.job_id).values(leased_until=until))
        return True

    def reprioritise(self, connection: Connection, version_id: int) -> None:
        """A waiting job gets the priority that its study has now; Procrastinate's own row too, by which it hands out."""
        priority = self._priority(connection, version_id)
        waiting = (jobs.c.version_id == version_id) & (jobs.c.state == "ready")
        for dispatch_id in connection.execute(select(jobs.c.dispatch_id).where(waiting)).scalars().all():
            changed = text("UPDATE procrastinate_jobs SET priority = :priority WHERE id = :id AND status = 'todo'")
            connection.execute(changed, {"priority": priority, "id": dispatch_id})
        connection.execute(update(jobs).where(waiting).values(priority=priority))

    def finish(self, connection: Connection, lease: Lease) -> bool:
        """The job is done; False if the lease is lost."""
        return self._end(connection, lease, state="done")

    def put_back(self, connection: Connection, lease: Lease, *, error: str, available_at: float, counts: bool = True) -> bool:
        """Another attempt later; False if the lease is lost."""
        row = self._own(connection, lease)
        if row is None:
            return False
        attempts = lease.attempt if counts else lease.attempt - 1
        values = {"state": "ready", "attempts": attempts, "leased_until": None, "last_error": error, "available_at": available_at}
        connection.execute(update(jobs).where(jobs.c.id == lease.job_id).values(**values))
        self._dispatch_again(connection, row, at=available_at)
        return True

    def bury(self, connection: Connection, lease: Lease, error: str) -> bool:
        """No further attempt; False if the lease is lost."""
        return self._end(connection, lease, state="dead", last_error=error)

    def sweep(self, connection: Connection, now: float, *, all_but_owner: str | None = None) -> list[Lease]:
        """Make the jobs of dead workers ready again."""
        del now
        at = database_now(connection)
        gone = jobs.c.leased_until < at if all_but_owner is None else jobs.c.owner != all_but_owner
        leases = []
        for row in connection.execute(select(jobs).where(jobs.c.state == "leased", gone)).all():
            connection.execute(update(jobs).where(jobs.c.id == row.id).values(state="ready", leased_until=None, available_at=at))
            self._dispatch_again(connection, row, at=None)
            leases.append(Lease(job_id=row.id, version_id=row.version_id, token=row.token, attempt=row.attempts))
        self._clear_away(connection)
        return leases

    def _own(self, connection: Connection, lease: Lease) -> Row[Any] | None:
        ours = (jobs.c.id == lease.job_id) & (jobs.c.token == lease.token) & (jobs.c.state == "leased")
        return connection.execute(select(jobs).where(ours)).first()

    def _end(self, connection: Connection, lease: Lease, **values: object) -> bool:
        row = self._own(connection, lease)
        if row is None:
            return False
        connection.execute(update(jobs).where(jobs.c.id == lease.job_id).values(**values, leased_until=None))
        self._end_dispatch(connection, row.dispatch_id)
        return True

    def _dispatch(self, connection: Connection, job_id: int, priority: int, *, at: float | None) -> None:
        dispatch_id = connection.execute(
            text(
                "SELECT unnest(procrastinate_defer_jobs_v1(ARRAY[ROW(:queue, :task, :priority, NULL, NULL, CAST(:args AS jsonb), "
                "to_timestamp(:at))::procrastinate_job_to_defer_v1]))"
            ),
            {"queue": QUEUE, "task": TASK, "priority": priority, "args": json.dumps({"job_id": job_id}), "at": at},
        ).scalar_one()
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(dispatch_id=dispatch_id))

    def _dispatch_again(self, connection: Connection, row: Row[Any], *, at: float | None) -> None:
        status = connection.execute(text("SELECT status::text FROM procrastinate_jobs WHERE id = :id"), {"id": row.dispatch_id}).scalar()
        if status == "doing":
            retry = text("SELECT procrastinate_retry_job_v2(:id, to_timestamp(:at), NULL, NULL, NULL)")
            connection.execute(retry, {"id": row.dispatch_id, "at": at})
        elif status != "todo":
            # An operator removed it with Procrastinate's own tools; the ledger still wants the study analysed.
            self._dispatch(connection, row.id, row.priority, at=at)

    def _end_dispatch(self, connection: Connection, dispatch_id: int) -> None:
        # The ledger keeps the history; Procrastinate's table holds only what waits or runs, and stays small.
        connection.execute(text("DELETE FROM procrastinate_jobs WHERE id = :id"), {"id": dispatch_id})

    def _clear_away(self, connection: Connection) -> None:
        connection.execute(
            text(
                "DELETE FROM procrastinate_jobs USING jobs WHERE procrastinate_jobs.id = jobs.dispatch_id "
                "AND procrastinate_jobs.status = 'doing' AND jobs.state <> 'leased'"
            )
        )
        connection.execute(text("SELECT procrastinate_prune_stalled_workers_v1(:seconds)"), {"seconds": 4 * self._lease_seconds})

    def _worker_id(self, connection: Connection, owner: str) -> int:
        """Procrastinate's id of a worker, with a fresh sign of life."""
        known = self._worker_ids.get(owner)
        beat = text("UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = :id")
        if known is not None and connection.execute(beat, {"id": known}).rowcount:
            return known
        new = int(connection.execute(text("SELECT worker_id FROM procrastinate_register_worker_v1()")).scalar_one())
        self._worker_ids[owner] = new
        return new
