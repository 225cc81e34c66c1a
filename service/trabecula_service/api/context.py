"""What the pages and the REST interface need of the rest of the service."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trabecula_service.ledger.database import Ledger
from trabecula_service.ops.bucket import Bucket
from trabecula_service.ops.data_files import DataFiles
from trabecula_service.ops.loops import Heartbeats
from trabecula_service.queue.port import JobQueue
from trabecula_service.settings.model import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class WebContext:
    """Handed to the routes by ``bootstrap``."""

    ledger: Ledger
    queue: JobQueue
    settings: Settings
    heartbeats: Heartbeats
    data: Path
    clock: Callable[[], float]
    bucket: Bucket | None = None

    def local(self, relative: str) -> Path:
        """A file of the ledger on this machine, fetched if it is not here.

        Raises
        ------
        OSError
            The bucket does not have it, or cannot be reached.
        """
        return DataFiles(self.data, self.bucket).local(relative)
