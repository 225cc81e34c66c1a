"""What the worker needs of an analysis, however it is run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trabecula_service.pipeline.request import AnalyzeRequest

Tick = Callable[[str, float], bool]
"""Called with stage and share every second or so while the analysis runs; False asks it to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The analysis came to an end of its own: exit code, message, ``result.json`` and files as in ``AnalyzeOutcome``."""

    exit_code: int
    message: str
    result_json: str | None
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """The analysis failed in a way that another attempt may not: crash, time limit, memory."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The analysis was stopped because ``Tick`` said so."""


class Analysis(Protocol):
    """Runs one analysis at a time."""

    def run(self, request: AnalyzeRequest, tick: Tick) -> Finished | Broken | Stopped:
        """Run to the end, or until ``tick`` returns False."""

    def close(self) -> None:
        """Give back what it holds."""
