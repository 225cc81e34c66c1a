"""Deletes the received images of studies that were delivered long enough ago, one study at a step."""

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.retention import (
    Deletion,
    Place,
    RetentionRule,
    finish,
    list_candidates,
    mark_deleted,
    marked_documents,
    marked_objects,
    next_unfinished,
    still_deletable,
    why_kept,
)
from trabecula_service.ops.bucket import Bucket
from trabecula_service.ops.data_files import DataFiles
from trabecula_service.receive.object_store import ObjectStore, sync_folder
from trabecula_service.security.audit import AuditEntry, append

_PAGE = 50
_AT_ONCE = 200
"""Files that are deleted in one transaction, for which other writers wait."""
_LONGEST_ROUND_SECONDS = 600.0

log = structlog.get_logger("trabecula.retention")


class Sweeper:
    """Goes round all studies that hold old images.

    Each is marked in the ledger and the audit trail before its first file goes, so that a stop in between is taken up again and
    nothing is ever said to be there that is not.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: ObjectStore,
        data: Path,
        rule: RetentionRule,
        *,
        bucket: Bucket | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = DataFiles(data, bucket)
        self._ledger, self._store, self._data, self._rule, self._clock = ledger, store, data, rule, clock
        self._after: Place | None = None
        self._next_round = 0.0

    def step(self) -> bool:
        """Finish a deletion or look through a page of studies; False when the round is over."""
        with self._ledger.read() as connection:
            unfinished = next_unfinished(connection)
        if unfinished is not None:
            self._delete_files(unfinished)
            return True
        if self._after is None and not self._is_time():
            return False
        return self._mark_one()

    def _is_time(self) -> bool:
        now = self._clock()
        length = min(_LONGEST_ROUND_SECONDS, self._rule.seconds)
        # A clock that was set back must not leave the next round far ahead.
        if now < self._next_round <= now + length:
            return False
        self._next_round = now + length
        return True

    def _mark_one(self) -> bool:
        now = self._clock()
        with self._ledger.read() as connection:
            page = list_candidates(connection, self._rule, now, after=self._after, limit=_PAGE)
            due = next((place for place in page if not why_kept(connection, place[1], self._rule, now)), None)
        self._after = due or (page[-1] if len(page) == _PAGE else None)
        if due is not None:
            self._mark(due[1], now)
        return self._after is not None

    def _mark(self, study_id: str, now: float) -> None:
        with self._ledger.write() as connection:
            deletion = mark_deleted(connection, study_id, self._rule, now)
            if deletion is None:
                return
            entry = AuditEntry(
                at=now,
                actor="retention",
                role="",
                via="service",
                address="",
                action="delete",
                study_id=study_id,
                outcome="ok",
                detail=f"{deletion.objects} received objects, {deletion.size_bytes} bytes",
            )
            append(connection, entry)

    def _delete_files(self, deletion: Deletion) -> None:
        with self._ledger.read() as connection:
            objects = marked_objects(connection, deletion.study_id)
            pictures = marked_documents(connection, deletion.study_id)
        folders: set[Path] = set()
        for start in range(0, len(objects), _AT_ONCE):
            with self._ledger.write() as connection:
                folders |= self._store.delete(still_deletable(connection, objects[start : start + _AT_ONCE]))
        self._files.delete(pictures)
        folders |= {(self._data / picture).parent for picture in pictures}
        for folder in folders:
            if folder.is_dir():
                sync_folder(folder)
        with self._ledger.write() as connection:
            finish(connection, deletion, self._clock())
        log.info("retention_deleted", study_id=deletion.study_id, count=deletion.objects)
