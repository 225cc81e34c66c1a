"""Writes of all associations into the ledger, so that many objects share one sync of the disk."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from trabecula_service.ledger.database import Ledger

T = TypeVar("T")
Work = Callable[[Connection], Any]


class SharedCommits:
    """Runs pieces of work in transactions of the ledger; ``run`` returns when its piece is committed.

    Whoever comes to write takes along all that wait: while one thread waits for the disk the others queue, and the next one commits
    them all. There is no thread of its own to wake, which costs more than the work on a busy machine. A piece that fails is rolled back
    alone: the others are then run again, each in a transaction of its own.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: deque[tuple[Work, Future[Any]]] = deque()
        self._writing = Lock()

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run a piece of work and wait until it is committed; what it raises is raised here."""
        future: Future[T] = Future()
        self._waiting.append((work, future))
        with self._writing:
            if not future.done():
                self._commit([self._waiting.popleft() for _ in range(len(self._waiting))])
        return future.result()

    def _commit(self, batch: list[tuple[Work, "Future[Any]"]]) -> None:
        try:
            with self._ledger.write() as connection:
                results = [work(connection) for work, _ in batch]
        # Whatever it is, it is told to whoever waits for it.
        except Exception as error:
            # A ledger that is locked, full or gone is so for each of them; trying one after another would keep all senders waiting.
            if len(batch) == 1 or isinstance(error, OperationalError):
                for _, future in batch:
                    future.set_exception(error)
                return
            for piece in batch:
                self._commit([piece])
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)
