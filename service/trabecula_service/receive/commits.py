"""Writes of all associations into the ledger, so that many objects share one sync of the disk."""

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from trabecula_service.ledger.database import Ledger

T = TypeVar("T")
Work = Callable[[Connection], Any]


class SharedCommits:
    """Runs pieces of work in transactions of the ledger; ``run`` returns when its piece is committed.

    Whoever comes to write takes along all that wait: while one thread waits for the disk the others queue, and the first of them commits
    them all. There is no thread of its own to wake, which costs more than the work on a busy machine. Who waits sleeps until its piece
    is committed or it is its turn to write; a lock that all queue at would wake one after another, each only to find its piece done. A
    piece that fails is rolled back alone: the others are then run again, each in a transaction of its own.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[_Piece] = []
        self._someone_writes = False
        self._lock = Lock()

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run a piece of work and wait until it is committed; what it raises is raised here."""
        piece = _Piece(work)
        with self._lock:
            self._waiting.append(piece)
            is_our_turn, self._someone_writes = not self._someone_writes, True
        if not is_our_turn:
            piece.sleep()
        if not piece.is_done:
            self._write()
        if piece.error is not None:
            raise piece.error
        return cast(T, piece.result)

    def _write(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            self._commit(batch)
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._someone_writes = following is not None
            # Before those that are done, so that the disk does not wait for them.
            if following is not None:
                following.wake()
            for piece in batch:
                piece.wake()

    def _commit(self, batch: "list[_Piece]") -> None:
        try:
            with self._ledger.write() as connection:
                results = [piece.work(connection) for piece in batch]
        # Whatever it is, it is told to whoever waits for it; an interrupt too, for nobody may wait for ever.
        except BaseException as error:
            # A ledger that is locked, full or gone is so for each of them; trying one after another would keep all senders waiting.
            if len(batch) == 1 or isinstance(error, OperationalError):
                for piece in batch:
                    piece.is_done, piece.error = True, error
                return
            for piece in batch:
                self._commit([piece])
            return
        for piece, result in zip(batch, results, strict=True):
            piece.is_done, piece.result = True, result


class _Piece:
    """One piece of work and the thread that waits for it."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self._asleep = Lock()
        self._asleep.acquire()

    def sleep(self) -> None:
        """Wait for ``wake``, once."""
        self._asleep.acquire()

    def wake(self) -> None:
        """Let its thread go on."""
        self._asleep.release()
