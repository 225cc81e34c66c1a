"""One C-STORE: the data set goes to the disk as it comes, then a row into the ledger, and only when both are safe the answer."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from trabecula_service.ledger.retention import restore_object
from trabecula_service.receive.commits import SharedCommits
from trabecula_service.receive.dimse_commands import Command, encode_response
from trabecula_service.receive.file_meta import encode_file_meta
from trabecula_service.receive.header import ObjectHeader, Unreadable, read_beginning, read_stored_header
from trabecula_service.receive.intake import Intake, Kind, StoredObject, forget_object, record_object
from trabecula_service.receive.object_store import HEAD_BYTES, ObjectStore, ObjectWriter

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000

_GIB = 1024**3

log = structlog.get_logger("trabecula.receive")


class Intaker:
    """Keeps objects: bytes durable and row committed before anybody is told; shared by every path that receives."""

    def __init__(
        self, store: ObjectStore, commits: SharedCommits, *, data: Path, reserve_free_gib: float, clock: Callable[[], float]
    ) -> None:
        self._store, self._commits, self._data, self._clock = store, commits, data, clock
        self._reserve_bytes = reserve_free_gib * _GIB

    def has_room(self) -> bool:
        """Whether the disk has more room than is kept back for what was accepted."""
        return shutil.disk_usage(self._data).free >= self._reserve_bytes

    def begin(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> ObjectWriter:
        """Start writing one object.

        Raises
        ------
        OSError
            If the disk is full or not writable.
        """
        return self._store.begin(encode_file_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid), transfer_syntax_uid)

    def keep(
        self,
        writer: ObjectWriter,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        association_id: int | None,
        header: ObjectHeader | Unreadable | None = None,
    ) -> Intake:
        """Finish a written object; when this returns it is safe.

        The bytes, their name and the row are synced side by side, because each sync waits for the disk. A power failure between them can
        leave a row without its bytes: such an object was never acknowledged, and ``take_back_unfinished`` removes its row at the next
        start. ``header`` is what is known of it already.

        Raises
        ------
        OSError, SQLAlchemyError
            If it is not safe; nothing of it is kept then.
        """
        # Before the sync of the bytes begins: the sooner that of the row follows it, the more of the disk's work they share.
        if header is None:
            header = read_beginning(bytes(writer.head), transfer_syntax_uid, whole=writer.data_bytes == len(writer.head))
        placed = writer.place()
        file = placed.file
        if header is None:
            header = read_stored_header(file.path, file.data_offset, transfer_syntax_uid)
        stored = StoredObject(
            sop_instance_uid=sop_instance_uid,
            sop_class_uid=sop_class_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            sha256=file.sha256,
            size_bytes=file.size_bytes,
            association_id=association_id,
        )
        if association_id is None:
            # Without an association nobody would look whether the bytes are there after a power failure.
            placed.wait()
        now = self._clock()
        intake = self._commits.run(lambda connection: record_object(connection, stored, header, now))
        try:
            placed.wait()
        except OSError:
            if not intake.repeated:
                self._commits.run(lambda connection: forget_object(connection, stored))
            raise
        if intake.was_deleted:
            self._commits.run(lambda connection: self._restore(connection, stored, now))
        if intake.kind in (Kind.CONFLICT, Kind.UNREADABLE) and not intake.repeated:
            log.warning("object_set_aside", kind=intake.kind, reason=intake.reason, study_id=intake.study_id)
        return intake

    def _restore(self, connection: Connection, stored: StoredObject, now: float) -> None:
        """The bytes of a known object are there again, unless its deletion went on while they came; both happen one after the other."""
        if not self._store.is_there(stored.sha256):
            raise OSError("deleted after the retention time while it came again")
        restore_object(connection, stored.sop_instance_uid, stored.sha256, stored.association_id, now)


class StoreTransfer:
    """What is done with one C-STORE request."""

    def __init__(self, intaker: Intaker, command: Command, transfer_syntax_uid: str, association_id: int | None) -> None:
        self._intaker, self._command, self._syntax, self._association_id = intaker, command, transfer_syntax_uid, association_id
        self._status = SUCCESS
        self._writer: ObjectWriter | None = None
        self._header: ObjectHeader | Unreadable | None = None
        try:
            if intaker.has_room():
                self._writer = intaker.begin(command.sop_class_uid, command.sop_instance_uid, transfer_syntax_uid)
            else:
                self._refuse("disk_reserve_reached")
        except OSError as error:
            self._refuse("object_not_stored", error)

    def write(self, fragment: memoryview) -> None:
        """Put a fragment on the disk; what cannot be kept is read to its end all the same, so that the sender gets an answer."""
        if self._writer is None:
            return
        had = len(self._writer.head)
        try:
            self._writer.write(fragment)
        except OSError as error:
            self._refuse("object_not_stored", error)
            return
        if had < HEAD_BYTES == len(self._writer.head):
            # Meanwhile the sender's next fragments come.
            self._header = read_beginning(bytes(self._writer.head), self._syntax, whole=False)

    def finish(self) -> Sequence[tuple[bytes, bytes]]:
        """Make it safe and answer."""
        if self._writer is not None:
            self._status = self._keep(self._writer)
        return [(encode_response(self._command, self._status), b"")]

    def abandon(self) -> None:
        """The association ended inside the data set: nothing was acknowledged."""
        if self._writer is not None:
            self._writer.discard()

    def _keep(self, writer: ObjectWriter) -> int:
        if writer.data_bytes == 0:
            writer.discard()
            return CANNOT_UNDERSTAND
        command = self._command
        try:
            self._intaker.keep(writer, command.sop_class_uid, command.sop_instance_uid, self._syntax, self._association_id, self._header)
        except (OSError, SQLAlchemyError) as error:
            # Nothing was acknowledged: the sender keeps its copy and comes again.
            self._refuse("object_not_stored", error)
            return OUT_OF_RESOURCES
        return SUCCESS

    def _refuse(self, event: str, error: Exception | None = None) -> None:
        self._writer, self._status = None, OUT_OF_RESOURCES
        if error is None:
            log.error(event)
        else:
            log.error(event, error=type(error).__name__)


class Answer:
    """A message that needs nothing but a status."""

    def __init__(self, command: Command, status: int) -> None:
        self._command, self._status = command, status

    def write(self, fragment: memoryview) -> None:
        """Its data set is of no interest."""

    def finish(self) -> Sequence[tuple[bytes, bytes]]:
        """The status."""
        return [(encode_response(self._command, self._status), b"")]

    def abandon(self) -> None:
        """Nothing to undo."""


class NoAnswer(Answer):
    """A message that is not answered, such as a C-CANCEL for an operation that has ended."""

    def finish(self) -> Sequence[tuple[bytes, bytes]]:
        """Silence."""
        return []
