"""What the pages and the REST interface need of the rest of the service."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trabecula_service.ledger.database import Ledger
from trabecula_service.ops.loops import Heartbeats
from trabecula_service.queue.port import JobQueue
from trabecula_service.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class WebContext:
    """Handed to the routes by ``bootstrap``."""

    ledger: Ledger
    queue: JobQueue
    settings: Settings
    heartbeats: Heartbeats
    data: Path
    clock: Callable[[], float]
