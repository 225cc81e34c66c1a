"""One thread that writes into the ledger for all associations, so that many objects share one sync of the disk."""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from sqlalchemy import Connection

from trabecula_service.ledger.database import Ledger

T = TypeVar("T")
Work = Callable[[Connection], Any]

_MOST_AT_ONCE = 64


class SharedCommits:
    """Runs pieces of work in transactions of the ledger; a piece is committed when its future has a result.

    Pieces that wait together are committed together. One that fails is rolled back alone: the others are then run again, each in a
    transaction of its own.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: SimpleQueue[tuple[Work, Future[Any]] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="trabecula-commits", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after what waits."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def submit(self, work: Callable[[Connection], T]) -> "Future[T]":
        """Queue a piece of work."""
        future: Future[T] = Future()
        self._waiting.put((work, future))
        return future

    def run(self, work: Callable[[Connection], T]) -> T:
        """Queue a piece of work and wait until it is committed."""
        return self.submit(work).result()

    def _run(self) -> None:
        while True:
            first = self._waiting.get()
            if first is None:
                return
            batch, last = [first], False
            while len(batch) < _MOST_AT_ONCE and not self._waiting.empty():
                more = self._waiting.get()
                if more is None:
                    last = True
                    break
                batch.append(more)
            self._commit(batch)
            if last:
                return

    def _commit(self, batch: list[tuple[Work, "Future[Any]"]]) -> None:
        try:
            with self._ledger.write() as connection:
                results = [work(connection) for work, _ in batch]
        # Whatever it is, it is told to whoever waits for it.
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for piece in batch:
                self._commit([piece])
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)
