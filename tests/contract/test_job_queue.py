"""What every job queue must do, whatever it is built on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from builders.ledger import enter
from builders.small_ct import small_ct
from trabecula_service.ledger.database import Ledger, open_ledger
from trabecula_service.ledger.schema import versions
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.queue.port import JobQueue

LEASE_SECONDS = 60.0
QUEUES: dict[str, Callable[[], JobQueue]] = {"lease table": lambda: LeaseTable(lease_seconds=LEASE_SECONDS)}


@pytest.fixture(params=QUEUES)
def queue(request: pytest.FixtureRequest) -> JobQueue:
    return QUEUES[request.param]()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.sqlite")
    for study in range(2):
        enter(opened, small_ct(slices=1, PatientID=str(study))[0], 0.0)
    yield opened
    opened.close()


@pytest.fixture
def version_ids(ledger: Ledger) -> list[int]:
    with ledger.read() as connection:
        return list(connection.execute(select(versions.c.id)).scalars())


def test_a_job_is_taken_once_and_in_order(queue: JobQueue, ledger: Ledger, version_ids: list[int]) -> None:
    with ledger.write() as connection:
        for number, version_id in enumerate(version_ids):
            queue.enqueue(connection, version_id, float(number))
        taken = [queue.lease(connection, "a", 10.0), queue.lease(connection, "b", 10.0), queue.lease(connection, "c", 10.0)]
    assert [lease.version_id if lease else None for lease in taken] == [*version_ids, None]


def test_a_job_of_a_rolled_back_transaction_does_not_exist(queue: JobQueue, ledger: Ledger, version_ids: list[int]) -> None:
    def killed_before_the_commit() -> None:
        with ledger.write() as connection:
            queue.enqueue(connection, version_ids[0], 0.0)
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        killed_before_the_commit()
    with ledger.write() as connection:
        assert queue.lease(connection, "a", 10.0) is None


def test_a_dead_worker_loses_its_job_and_its_answer(queue: JobQueue, ledger: Ledger, version_ids: list[int]) -> None:
    with ledger.write() as connection:
        queue.enqueue(connection, version_ids[0], 0.0)
        first = queue.lease(connection, "a", 0.0)
        assert first is not None
        assert queue.sweep(connection, LEASE_SECONDS - 1.0) == []
        assert len(queue.sweep(connection, LEASE_SECONDS + 1.0)) == 1
        second = queue.lease(connection, "b", LEASE_SECONDS + 1.0)
        assert second is not None
        assert second.token > first.token
        assert not queue.renew(connection, first, LEASE_SECONDS + 2.0)
        assert not queue.finish(connection, first)
        assert queue.finish(connection, second)


def test_a_sign_of_life_keeps_the_job(queue: JobQueue, ledger: Ledger, version_ids: list[int]) -> None:
    with ledger.write() as connection:
        queue.enqueue(connection, version_ids[0], 0.0)
        lease = queue.lease(connection, "a", 0.0)
        assert lease is not None
        assert queue.renew(connection, lease, 50.0)
        assert queue.sweep(connection, LEASE_SECONDS + 1.0) == []


def test_a_job_put_back_waits_until_its_time_and_counts_its_attempts(queue: JobQueue, ledger: Ledger, version_ids: list[int]) -> None:
    with ledger.write() as connection:
        queue.enqueue(connection, version_ids[0], 0.0)
        lease = queue.lease(connection, "a", 0.0)
        assert lease is not None
        assert queue.put_back(connection, lease, error="crash", available_at=30.0)
        assert queue.lease(connection, "a", 29.0) is None
        again = queue.lease(connection, "a", 30.0)
    assert again is not None
    assert again.attempt == 2


def test_a_buried_job_stays_buried(queue: JobQueue, ledger: Ledger, version_ids: list[int]) -> None:
    with ledger.write() as connection:
        queue.enqueue(connection, version_ids[0], 0.0)
        lease = queue.lease(connection, "a", 0.0)
        assert lease is not None
        assert queue.bury(connection, lease, "no hope")
        assert queue.lease(connection, "a", 1e9) is None
        assert queue.sweep(connection, 1e9) == []
