"""The analysis in a process of its own: loaded once, bounded in time and memory; its crash is a failed attempt, not a dead service."""

import ctypes
import importlib
import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from trabecula_morphometry.errors import TrabeculaError
from trabecula_service.pipeline.request import AnalyzeOutcome, AnalyzeRequest
from trabecula_service.queue.analysis_port import Broken, Finished, Stopped, Tick

_TICK_SECONDS = 0.5
_START_SECONDS = 120.0
_PR_SET_PDEATHSIG = 1
_GIB = 1024**3


class AnalysisProcess:
    """Keeps one child process with the networks loaded and hands it one request after another.

    Parameters
    ----------
    target : "module:function" of the analysis, called as ``function(request, progress)`` in the child.
    time_limit_seconds : for one request.
    memory_limit_gib : address space of the child.
    output : file that takes what libraries print in the child; it may hold patient data, so it stays in the data folder.
    """

    def __init__(self, target: str, *, time_limit_seconds: float, memory_limit_gib: float, output: Path) -> None:
        self._target, self._time_limit_seconds, self._memory_limit_gib, self._output = target, time_limit_seconds, memory_limit_gib, output
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Connection | None = None

    def run(self, request: AnalyzeRequest, tick: Tick) -> Finished | Broken | Stopped:
        """Run one request in the child; a child that had to be ended is started anew by the next call."""
        pipe = self._ready_pipe()
        stage, share = "starting", 0.0
        deadline = time.monotonic() + self._time_limit_seconds + (0.0 if pipe else _START_SECONDS)
        if pipe is None:
            pipe = self._start()
        try:
            pipe.send(request)
            while True:
                if pipe.poll(_TICK_SECONDS):
                    message = pipe.recv()
                    if message[0] == "progress":
                        stage, share = str(message[1]), float(message[2])
                    elif message[0] == "finished":
                        return Finished(exit_code=message[1], message=message[2], result_json=message[3], files=tuple(message[4]))
                    else:
                        return self._broken(str(message[1]))
                if not tick(stage, share):
                    self.close()
                    return Stopped()
                if time.monotonic() > deadline:
                    return self._broken(f"the analysis took longer than {self._time_limit_seconds:g} s (in {stage})")
        except (EOFError, OSError):
            return self._broken(self._obituary(stage))
        except BaseException:
            # The child is still at work on this request; its answer must not be taken for that of the next one.
            self.close()
            raise

    def close(self) -> None:
        """End the child, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _broken(self, reason: str) -> Broken:
        # A child that failed once may be in any state, so the next request gets a new one.
        self.close()
        return Broken(reason)

    def _ready_pipe(self) -> Connection | None:
        return self._pipe if self._process is not None and self._process.is_alive() else None

    def _start(self) -> Connection:
        self.close()
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._target, int(self._memory_limit_gib * _GIB), str(self._output), os.getpid())
        self._process = self._context.Process(target=_serve, args=arguments, name="trabecula-analysis", daemon=True)
        self._process.start()
        theirs.close()
        self._pipe = ours
        return ours

    def _obituary(self, stage: str) -> str:
        self._process.join(5.0)
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"the analysis process was ended by {signal.Signals(-code).name} (in {stage})"
        return f"the analysis process ended with code {code} (in {stage})"


def _serve(pipe: Connection, target: str, memory_bytes: int, output: str, parent: int) -> None:
    """Body of the child."""
    _die_with_parent(parent)
    # An interrupt at the keyboard goes to the whole group; the parent decides what becomes of us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    _redirect_output(output)
    analyze = _load(target)
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        pipe.send(_answer(analyze, request, pipe))


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _redirect_output(output: str) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _load(target: str) -> Callable[..., AnalyzeOutcome]:
    module, _, name = target.partition(":")
    function: Callable[..., AnalyzeOutcome] = getattr(importlib.import_module(module), name)
    return function


def _answer(analyze: Callable[..., AnalyzeOutcome], request: AnalyzeRequest, pipe: Connection) -> tuple[Any, ...]:
    try:
        outcome = analyze(request, lambda stage, share: pipe.send(("progress", stage, share)))
    except TrabeculaError as error:
        return ("error", f"{type(error).__name__}: {error}")
    except MemoryError:
        return ("error", "the analysis ran out of memory")
    # Whatever else it is, it is a failed attempt. Its text may hold patient data, so only its kind and place are told.
    except Exception as error:
        traceback.print_exc()  # into the output file, which stays in the data folder
        place = traceback.extract_tb(error.__traceback__)[-1]
        return ("error", f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}")
    result_json = outcome.result.to_json() if outcome.result is not None else None
    return ("finished", outcome.exit_code, outcome.message, result_json, list(outcome.files))
