"""Several listener processes on one port: an interpreter runs one thread at a time, so senders beyond a few need more of them.

All processes wait in ``accept`` on the same socket; whoever is free takes the next connection. Each gives its own sign of life in the
ledger, so that the associations of one that was killed are closed and their studies go on; the group starts another in its place.
"""

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event, Lock

import structlog

from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.presence import give_sign_of_life, leave
from trabecula_service.ops.bucket import open_bucket
from trabecula_service.ops.logs import set_up_logs
from trabecula_service.receive.listener import Listener, listening_socket
from trabecula_service.receive.object_store import ObjectStore
from trabecula_service.settings.log import LogSettings
from trabecula_service.settings.receive import ReceiveSettings
from trabecula_service.settings.storage import ObjectsSettings

_PRESENCE_SECONDS = 5.0
_LEAVE_SECONDS = 15.0
_PR_SET_PDEATHSIG = 1

log = structlog.get_logger("trabecula.receive")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerTask:
    """What a listener process needs to know; it travels to the process."""

    settings: ReceiveSettings
    log: LogSettings
    ledger: Path | str
    objects: Path
    shared: ObjectsSettings
    data: Path
    run_id: str
    parent: int


class ListenerGroup:
    """``processes`` listeners on one port; with the interface of one.

    Parameters
    ----------
    task : what each process gets; its ``run_id`` is the beginning of theirs.
    ledger : for the signs of life of processes that end.
    """

    def __init__(self, task: ListenerTask, ledger: Ledger) -> None:
        self._task, self._ledger = task, ledger
        self._context = multiprocessing.get_context("spawn")
        self._socket: socket.socket | None = None
        self._members: dict[str, BaseProcess] = {}
        self._started = 0
        self._lock = Lock()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._socket.getsockname()[1]) if self._socket else 0

    def start(self) -> None:
        """Listen.

        Raises
        ------
        SettingsError
            If the port is taken or the address is not this machine's.
        """
        self._socket = listening_socket(self._task.settings)
        for _ in range(self._task.settings.processes):
            self._add()
        log.info(
            "listening", ae_title=self._task.settings.ae_title, address=self._task.settings.bind, port=self.port, count=len(self._members)
        )

    def watch(self) -> bool:
        """Replace processes that have ended; whether there was one. To be called now and then."""
        # A member that ends because the group stops is not replaced.
        with self._lock:
            if self._socket is None:
                return False
            gone = [run_id for run_id, process in self._members.items() if not process.is_alive()]
            for run_id in gone:
                log.error("listener_ended", run_id=run_id, exit_code=self._members.pop(run_id).exitcode)
                with self._ledger.write() as connection:
                    leave(connection, run_id)
                self._add()
            return bool(gone)

    def stop(self) -> None:
        """Stop listening; open associations are aborted, what they had sent is kept."""
        with self._lock:
            listening, self._socket = self._socket, None
            members = list(self._members.values())
            self._members.clear()
        for process in members:
            process.terminate()
        for process in members:
            process.join(_LEAVE_SECONDS)
            process.kill()
        if listening is not None:
            listening.close()

    def _add(self) -> None:
        self._started += 1
        run_id = f"{self._task.run_id}-{self._started}"
        process = self._context.Process(target=_serve, args=(self._task, run_id, self._socket), name="trabecula-listener", daemon=True)
        process.start()
        self._members[run_id] = process


def _serve(task: ListenerTask, run_id: str, listening: socket.socket) -> None:
    """Body of a process."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != task.parent:
        return
    set_up_logs(task.log)
    finish = Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: finish.set())
    # An interrupt at the keyboard goes to the whole group; the parent decides what becomes of us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ledger = Ledger(task.ledger)
    store = ObjectStore(task.objects, open_bucket(task.shared))
    listener = Listener(task.settings, ledger, store, run_id=run_id, data=task.data, listening=listening)
    show = _shower(ledger, run_id)
    show()
    listener.start()
    # As in the service: what is loaded by now stays, and a full collection that looks at all of it stops every thread.
    gc.freeze()
    while not finish.wait(_PRESENCE_SECONDS):
        # A ledger that is busy for a moment is no reason to end; the silence is counted in minutes.
        with contextlib.suppress(Exception):
            show()
    listener.stop()
    with ledger.write() as connection:
        leave(connection, run_id)
    ledger.close()


def _shower(ledger: Ledger, run_id: str) -> Callable[[], None]:
    host = socket.gethostname()

    def show() -> None:
        with ledger.write() as connection:
            give_sign_of_life(connection, run_id, roles="listen", host=host)

    return show
