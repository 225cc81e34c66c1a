"""Threads that do one small step again and again, and say when they last did."""

import time
from collections.abc import Callable
from threading import Event, Lock, Thread

import structlog

_LONGEST_PAUSE_SECONDS = 10.0

log = structlog.get_logger("trabecula.ops")


class Heartbeats:
    """When each loop last came round; the health page reads it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._beats, self._lock = clock, dict[str, float](), Lock()

    def beat(self, name: str) -> None:
        """The loop is alive."""
        with self._lock:
            self._beats[name] = self._clock()

    def ages_s(self) -> dict[str, float]:
        """Seconds since the last beat of each loop."""
        with self._lock:
            return {name: self._clock() - at for name, at in self._beats.items()}


class Loop:
    """Calls ``step`` until stopped; at once again if it did something, after ``pause_seconds`` if not."""

    def __init__(self, name: str, step: Callable[[], object], *, pause_seconds: float, heartbeats: Heartbeats) -> None:
        self._name, self._step, self._pause_seconds, self._heartbeats = name, step, pause_seconds, heartbeats
        self._stop = Event()
        self._thread = Thread(target=self._run, name=f"trabecula-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._heartbeats.beat(self._name)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """End after the present step."""
        self._stop.set()

    def join(self, seconds: float) -> bool:
        """Wait for the end; False if it did not come in time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._heartbeats.beat(self._name)
            try:
                busy = bool(self._step())
                failures = 0
            # A full disk or a locked ledger must not end the service: it says so and tries again.
            except Exception as error:
                failures += 1
                busy = False
                log.error("step_failed", thread=self._name, error=type(error).__name__, reason=_place_of(error))
            if not busy:
                self._stop.wait(min(self._pause_seconds * 2 ** min(failures, 8), _LONGEST_PAUSE_SECONDS))


def _place_of(error: BaseException) -> str:
    # The text of an error may quote what it stumbled over; its place never does.
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else ""
