"""Files of the ledger below the data folder: here, or in the bucket that several machines share, with copies here."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.retention import finished_since, marked_documents, marked_objects
from trabecula_service.ops.bucket import Bucket

_YOUNG_SECONDS = 3600.0
"""A copy that was used within this time stays: an analysis or a transfer may be at it."""
_ROUND_SECONDS = 60.0
_LOOK_BACK_SECONDS = 86400.0
"""Deletions are looked at again for so long: the clocks of machines differ."""
_CACHED = ("objects", "results")


class DataFiles:
    """Paths as the ledger has them, relative to the data folder.

    Parameters
    ----------
    root : the data folder of this machine.
    bucket : where files are shared; None where the data folder itself is, or one machine does everything.
    """

    def __init__(self, root: Path, bucket: Bucket | None = None) -> None:
        self._root, self._bucket = root, bucket

    def local(self, relative: str) -> Path:
        """The file on this machine, fetched if it is not here.

        Raises
        ------
        OSError
            The bucket does not have it, or cannot be reached.
        """
        path = self._root / relative
        if self._bucket is None:
            return path
        if path.exists():
            os.utime(path)
        else:
            self._bucket.fetch(relative, path)
        return path

    def publish(self, path: Path) -> None:
        """Let other machines have a file that is whole and safe here."""
        if self._bucket is not None:
            self._bucket.put(path.relative_to(self._root).as_posix(), path)

    def delete(self, relatives: Sequence[str]) -> None:
        """Delete files here and for all."""
        for relative in relatives:
            (self._root / relative).unlink(missing_ok=True)
        if self._bucket is not None:
            self._bucket.delete(relatives)


class CacheKeeper:
    """Keeps the copies of a shared bucket on this machine few, and none of what was deleted after its retention time elsewhere."""

    def __init__(
        self,
        ledger: Ledger,
        root: Path,
        *,
        limit_bytes: float,
        clock: Callable[[], float] = time.time,
        young_seconds: float = _YOUNG_SECONDS,
    ) -> None:
        self._ledger, self._root, self._limit_bytes, self._clock, self._young_seconds = ledger, root, limit_bytes, clock, young_seconds
        self._since, self._next = 0.0, 0.0

    def step(self) -> bool:
        """One round, if it is time."""
        now = self._clock()
        if now < self._next <= now + _ROUND_SECONDS:
            return False
        self._next = now + _ROUND_SECONDS
        self._forget_deleted()
        self._since = now - _LOOK_BACK_SECONDS
        self._trim(now)
        return False

    def _forget_deleted(self) -> None:
        with self._ledger.read() as connection:
            for study_id in finished_since(connection, self._since):
                for _, sha256 in marked_objects(connection, study_id):
                    (self._root / "objects" / sha256[:2] / f"{sha256}.dcm").unlink(missing_ok=True)
                for relative in marked_documents(connection, study_id):
                    (self._root / relative).unlink(missing_ok=True)

    def _trim(self, now: float) -> None:
        copies = sorted(self._copies())
        total = sum(size for _, size, _ in copies)
        for used_at, size, path in copies:
            if total <= self._limit_bytes or now - used_at < self._young_seconds:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        """When each was used last, its size and its path."""
        for part in _CACHED:
            for path in (self._root / part).rglob("*"):
                try:
                    status = path.stat()
                except OSError:
                    continue
                if path.is_file():
                    yield status.st_mtime, status.st_size, path
