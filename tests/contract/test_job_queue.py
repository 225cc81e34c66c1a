"""What every job queue must do, whatever it is built on."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text, update

from builders.ledger import enter
from builders.small_ct import small_ct
from trabecula_service.ledger.database import Ledger, open_ledger
from trabecula_service.ledger.schema import jobs, studies, versions
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.queue.port import JobQueue, Priority
from trabecula_service.queue.procrastinate_queue import ProcrastinateQueue

LEASE_SECONDS = 60.0


@dataclass
class Bench:
    """A queue over a ledger with some studies, and a clock that the test moves."""

    ledger: Ledger
    queue: JobQueue
    version_ids: list[int]
    _now: float = 1000.0

    @property
    def now(self) -> float:
        """The time by the clock that the queue goes by."""
        return time.time() if self.ledger.is_shared else self._now

    def wait(self, connection: Connection, seconds: float) -> None:
        """Let time pass. The clock of a database server cannot be moved, so everything that is written down becomes older instead."""
        self._now += seconds
        if self.ledger.is_shared:
            older = {"leased_until": jobs.c.leased_until - seconds, "available_at": jobs.c.available_at - seconds}
            connection.execute(update(jobs).values(**older))
            connection.execute(
                text("UPDATE procrastinate_jobs SET scheduled_at = scheduled_at - make_interval(secs => :s)"), {"s": seconds}
            )


@pytest.fixture(params=["lease table", "procrastinate"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "lease table":
        ledger, queue = open_ledger(tmp_path / "ledger.sqlite"), LeaseTable(lease_seconds=LEASE_SECONDS)
    else:
        ledger, queue = Ledger(request.getfixturevalue("postgres_address")), ProcrastinateQueue(lease_seconds=LEASE_SECONDS)
    for study in range(3):
        enter(ledger, small_ct(slices=1, PatientID=str(study))[0], 0.0)
    with ledger.read() as connection:
        version_ids = list(connection.execute(select(versions.c.id).order_by(versions.c.id)).scalars())
    yield Bench(ledger, queue, version_ids)
    ledger.close()


def test_a_job_is_taken_once_and_in_order(bench: Bench) -> None:
    with bench.ledger.write() as connection:
        for version_id in bench.version_ids:
            bench.queue.enqueue(connection, version_id, bench.now)
            bench.wait(connection, 1.0)
        taken = [bench.queue.lease(connection, owner, bench.now) for owner in "abcd"]
    assert [lease.version_id if lease else None for lease in taken] == [*bench.version_ids, None]


def test_stat_goes_before_routine_and_backfill_comes_last(bench: Bench) -> None:
    with bench.ledger.write() as connection:
        for version_id, priority in zip(bench.version_ids, (Priority.BACKFILL, Priority.ROUTINE, Priority.STAT), strict=True):
            of_study = select(versions.c.study_id).where(versions.c.id == version_id).scalar_subquery()
            connection.execute(update(studies).where(studies.c.id == of_study).values(priority=priority))
            bench.queue.enqueue(connection, version_id, bench.now)
            bench.wait(connection, 1.0)
        taken = [bench.queue.lease(connection, "a", bench.now) for _ in bench.version_ids]
    assert [lease.version_id if lease else None for lease in taken] == bench.version_ids[::-1]


def test_a_waiting_job_takes_the_priority_that_its_study_gets_later(bench: Bench) -> None:
    queue, ledger = bench.queue, bench.ledger
    with ledger.write() as connection:
        for version_id in bench.version_ids:
            queue.enqueue(connection, version_id, bench.now)
        study = select(versions.c.study_id).where(versions.c.id == bench.version_ids[2]).scalar_subquery()
        connection.execute(update(studies).where(studies.c.id == study).values(priority=Priority.STAT))
        queue.reprioritise(connection, bench.version_ids[2])
    with ledger.write() as connection:
        leases = [queue.lease(connection, "worker", bench.now) for _ in bench.version_ids]
        # One that is being worked on keeps its place; nothing is put twice.
        queue.reprioritise(connection, bench.version_ids[2])
        assert queue.lease(connection, "worker", bench.now) is None
    assert [lease.version_id for lease in leases if lease] == [bench.version_ids[2], *bench.version_ids[:2]]


def test_a_job_of_a_rolled_back_transaction_does_not_exist(bench: Bench) -> None:
    def killed_before_the_commit() -> None:
        with bench.ledger.write() as connection:
            bench.queue.enqueue(connection, bench.version_ids[0], bench.now)
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        killed_before_the_commit()
    with bench.ledger.write() as connection:
        assert bench.queue.lease(connection, "a", bench.now) is None


def test_a_lease_of_a_rolled_back_transaction_was_never_given(bench: Bench) -> None:
    def killed_before_the_commit() -> None:
        with bench.ledger.write() as connection:
            assert bench.queue.lease(connection, "a", bench.now) is not None
            raise RuntimeError("killed")

    with bench.ledger.write() as connection:
        bench.queue.enqueue(connection, bench.version_ids[0], bench.now)
    with pytest.raises(RuntimeError, match="killed"):
        killed_before_the_commit()
    with bench.ledger.write() as connection:
        again = bench.queue.lease(connection, "a", bench.now)
    assert again is not None
    assert again.attempt == 1


def test_a_dead_worker_loses_its_job_and_its_answer(bench: Bench) -> None:
    queue = bench.queue
    with bench.ledger.write() as connection:
        queue.enqueue(connection, bench.version_ids[0], bench.now)
        first = queue.lease(connection, "a", bench.now)
        assert first is not None
        bench.wait(connection, LEASE_SECONDS - 20.0)
        assert queue.sweep(connection, bench.now) == []
        bench.wait(connection, 21.0)
        assert queue.sweep(connection, bench.now) == [first]
        second = queue.lease(connection, "b", bench.now)
        assert second is not None
        assert (second.token > first.token, second.attempt) == (True, 2)
        assert not queue.renew(connection, first, bench.now)
        assert not queue.finish(connection, first)
        assert not queue.put_back(connection, first, error="late", available_at=bench.now)
        assert not queue.bury(connection, first, "late")
        assert queue.finish(connection, second)
        assert not queue.finish(connection, second), "once"


def test_a_sign_of_life_keeps_the_job(bench: Bench) -> None:
    with bench.ledger.write() as connection:
        bench.queue.enqueue(connection, bench.version_ids[0], bench.now)
        lease = bench.queue.lease(connection, "a", bench.now)
        assert lease is not None
        bench.wait(connection, LEASE_SECONDS - 20.0)
        assert bench.queue.renew(connection, lease, bench.now)
        bench.wait(connection, 21.0)
        assert bench.queue.sweep(connection, bench.now) == []


def test_after_a_restart_all_leases_of_the_run_before_are_given_back(bench: Bench) -> None:
    with bench.ledger.write() as connection:
        for version_id in bench.version_ids[:2]:
            bench.queue.enqueue(connection, version_id, bench.now)
        before, now = bench.queue.lease(connection, "before", bench.now), bench.queue.lease(connection, "now", bench.now)
        assert bench.queue.sweep(connection, bench.now, all_but_owner="now") == [before]
        assert now is not None
        assert bench.queue.finish(connection, now)


def test_a_job_put_back_waits_until_its_time_and_counts_its_attempts(bench: Bench) -> None:
    with bench.ledger.write() as connection:
        bench.queue.enqueue(connection, bench.version_ids[0], bench.now)
        lease = bench.queue.lease(connection, "a", bench.now)
        assert lease is not None
        assert bench.queue.put_back(connection, lease, error="crash", available_at=bench.now + 30.0)
    with bench.ledger.write() as connection:
        assert bench.queue.lease(connection, "a", bench.now) is None
        bench.wait(connection, 31.0)
    with bench.ledger.write() as connection:
        again = bench.queue.lease(connection, "a", bench.now)
    assert again is not None
    assert again.attempt == 2


def test_an_attempt_that_does_not_count_is_taken_back(bench: Bench) -> None:
    with bench.ledger.write() as connection:
        bench.queue.enqueue(connection, bench.version_ids[0], bench.now)
        lease = bench.queue.lease(connection, "a", bench.now)
        assert lease is not None
        assert bench.queue.put_back(connection, lease, error="stopped", available_at=bench.now - 1.0, counts=False)
        again = bench.queue.lease(connection, "a", bench.now)
    assert again is not None
    assert (again.attempt, again.token) == (1, lease.token + 1)


def test_a_buried_job_stays_buried(bench: Bench) -> None:
    with bench.ledger.write() as connection:
        bench.queue.enqueue(connection, bench.version_ids[0], bench.now)
        lease = bench.queue.lease(connection, "a", bench.now)
        assert lease is not None
        assert bench.queue.bury(connection, lease, "no hope")
        bench.wait(connection, 1e6)
        assert bench.queue.lease(connection, "a", bench.now) is None
        assert bench.queue.sweep(connection, bench.now) == []


@pytest.mark.parametrize("when", ["waiting", "running"])
def test_a_job_whose_version_was_superseded_is_nobodys(bench: Bench, when: str) -> None:
    with bench.ledger.write() as connection:
        bench.queue.enqueue(connection, bench.version_ids[0], bench.now)
        lease = bench.queue.lease(connection, "a", bench.now) if when == "running" else None
        connection.execute(update(jobs).values(state="cancelled"))
        if lease is not None:
            assert not bench.queue.renew(connection, lease, bench.now)
            assert not bench.queue.finish(connection, lease)
        assert bench.queue.lease(connection, "b", bench.now) is None
        assert bench.queue.sweep(connection, bench.now) == []
        bench.queue.enqueue(connection, bench.version_ids[1], bench.now)
        following = bench.queue.lease(connection, "b", bench.now)
    assert following is not None
    assert following.version_id == bench.version_ids[1]
