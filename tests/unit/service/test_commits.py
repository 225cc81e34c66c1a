"""Many writers share one commit, and one that fails spoils no other's."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from sqlalchemy import Connection, func, insert, select

from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.schema import associations
from trabecula_service.receive.commits import SharedCommits


def _enter(title: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.execute(insert(associations).values(run_id="run", calling_ae_title=title, address="127.0.0.1", opened_at=1.0))
        if title == "BAD":
            raise ValueError("this one fails")

    return work


def test_pieces_that_wait_together_are_committed_and_a_bad_one_alone_is_rolled_back(ledger: Ledger) -> None:
    commits, held, go = SharedCommits(ledger), Event(), Event()

    def hold(connection: Connection) -> None:
        del connection
        held.set()
        go.wait(30)

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(commits.run, hold)
        assert held.wait(30)
        others = [pool.submit(commits.run, _enter(title)) for title in ("A", "BAD", "B", "C")]
        go.set()
        first.result(30)
        for future, title in zip(others, ("A", "BAD", "B", "C"), strict=True):
            if title == "BAD":
                with pytest.raises(ValueError, match="this one fails"):
                    future.result(30)
            else:
                future.result(30)
    with ledger.read() as connection:
        assert connection.execute(select(func.count()).select_from(associations)).scalar_one() == 3
