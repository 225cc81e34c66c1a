"""The Storage SCP: durable bytes, a committed row, then 0x0000; C-ECHO; only callers that are allowed."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import structlog
from pynetdicom import AE, _config, evt
from pynetdicom.dsutils import encode_file_meta
from pynetdicom.sop_class import Verification
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from trabecula_morphometry.errors import SettingsError
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.schema import refused_callers
from trabecula_service.receive.callers import CallerList, refusal_hint
from trabecula_service.receive.header import read_header
from trabecula_service.receive.intake import Intake, Kind, StoredObject, close_association, open_association, record_object
from trabecula_service.receive.object_store import ObjectStore
from trabecula_service.settings import ReceiveSettings

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000

_REJECTED_PERMANENT, _BY_USER, _CALLING_TITLE_NOT_RECOGNISED = 0x01, 0x01, 0x03
_MOST_REFUSED_CALLERS = 100
_GIB = 1024**3

log = structlog.get_logger("trabecula.receive")


class Listener:
    """Takes objects from scanners and PACS. ``start`` returns at once; associations run in threads of their own."""

    def __init__(
        self,
        settings: ReceiveSettings,
        ledger: Ledger,
        store: ObjectStore,
        *,
        run_id: str,
        data: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._ledger, self._store, self._run_id, self._data, self._clock = settings, ledger, store, run_id, data, clock
        self._callers = CallerList(settings.allowed_callers)
        self._open: dict[int, int] = {}
        self._lock = Lock()
        self._server: Any = None
        self._ae = self._entity()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.socket.getsockname()[1])

    def start(self) -> None:
        """Listen.

        Raises
        ------
        SettingsError
            If the port is taken or the address is not this machine's.
        """
        # Scanners send private and future storage classes; each is stored and answered for by name rather than refused on the wire.
        _config.UNRESTRICTED_STORAGE_SERVICE = True
        handlers = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_ACCEPTED, self._on_accepted),
            (evt.EVT_RELEASED, self._on_end, ["released"]),
            (evt.EVT_ABORTED, self._on_end, ["aborted"]),
            (evt.EVT_CONN_CLOSE, self._on_end, ["lost"]),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_C_ECHO, self._on_echo),
        ]
        address = (self._settings.bind, self._settings.port)
        try:
            self._server = self._ae.start_server(address, block=False, evt_handlers=handlers)
        except OSError as error:
            hint = f"{error.strerror}; stop the other program or set another port"
            raise SettingsError(
                "the listener cannot start", where=f"receive.bind, receive.port = {address[0]}:{address[1]}", hint=hint
            ) from error
        log.info("listening", ae_title=self._settings.ae_title, address=self._settings.bind, port=self.port)

    def stop(self) -> None:
        """Stop listening; open associations are aborted, what they had sent is kept."""
        if self._server is not None:
            self._ae.shutdown()
            self._server = None

    def _entity(self) -> AE:
        ae = AE(ae_title=self._settings.ae_title)
        ae.add_supported_context(Verification)
        ae.require_called_aet = True
        ae.maximum_associations = self._settings.max_associations
        ae.maximum_pdu_size = self._settings.max_pdu_bytes
        ae.network_timeout = self._settings.idle_seconds
        ae.dimse_timeout = self._settings.idle_seconds
        return ae

    def _on_requested(self, event: Any) -> None:
        title, address = str(event.assoc.requestor.primitive.calling_ae_title), str(event.assoc.requestor.address)
        try:
            allowed = self._callers.allows(title, address)
        except ValueError:
            # The library goes on with the association if this handler raises, so an address that cannot be read must not raise.
            allowed = False
        if allowed:
            return
        event.assoc.acse.send_reject(_REJECTED_PERMANENT, _BY_USER, _CALLING_TITLE_NOT_RECOGNISED)
        event.assoc.kill()
        hint = refusal_hint(title, address)
        log.warning("caller_refused", calling_ae_title=title, address=address, hint=hint)
        self._note_refusal(title, address, hint)

    def _on_accepted(self, event: Any) -> None:
        title, address = str(event.assoc.requestor.ae_title), str(event.assoc.requestor.address)
        with self._ledger.write() as connection:
            association_id = open_association(connection, self._run_id, title, address, self._clock())
        with self._lock:
            self._open[id(event.assoc)] = association_id

    def _on_end(self, event: Any, end: str) -> None:
        # An abort comes with a broken connection, told by two threads in any order: the abort has the last word.
        with self._lock:
            association_id = self._open.get(id(event.assoc)) if end == "lost" else self._open.pop(id(event.assoc), None)
        if association_id is None:
            return
        with self._ledger.write() as connection:
            close_association(connection, association_id, end, self._clock())
        log.info("association_ended", association_id=association_id, end=end)

    def _on_echo(self, event: Any) -> int:
        del event
        return SUCCESS

    def _on_store(self, event: Any) -> int:
        if event.request.DataSet is None:
            return CANNOT_UNDERSTAND
        try:
            if shutil.disk_usage(self._data).free < self._settings.reserve_free_gib * _GIB:
                log.error("disk_reserve_reached", reserve_free_gib=self._settings.reserve_free_gib)
                return OUT_OF_RESOURCES
            intake = self._keep(event)
        except (OSError, SQLAlchemyError) as error:
            # Nothing was acknowledged: the sender keeps its copy and comes again.
            log.error("object_not_stored", error=type(error).__name__)
            return OUT_OF_RESOURCES
        if intake.kind in (Kind.CONFLICT, Kind.UNREADABLE) and not intake.repeated:
            log.warning("object_set_aside", kind=intake.kind, reason=intake.reason, study_id=intake.study_id)
        return SUCCESS

    def _keep(self, event: Any) -> Intake:
        encoded = event.encoded_dataset(include_meta=False)
        syntax = str(event.context.transfer_syntax)
        file = self._store.put(encode_file_meta(event.file_meta), encoded, syntax)
        header = read_header(encoded, syntax)
        with self._lock:
            association_id = self._open.get(id(event.assoc))
        stored = StoredObject(
            sop_instance_uid=str(event.request.AffectedSOPInstanceUID),
            sop_class_uid=str(event.request.AffectedSOPClassUID),
            transfer_syntax_uid=syntax,
            sha256=file.sha256,
            size_bytes=file.size_bytes,
            association_id=association_id,
        )
        with self._ledger.write() as connection:
            return record_object(connection, stored, header, self._clock())

    def _note_refusal(self, title: str, address: str, reason: str) -> None:
        here = (refused_callers.c.calling_ae_title == title) & (refused_callers.c.address == address)
        now = self._clock()
        with self._ledger.write() as connection:
            changed = connection.execute(
                update(refused_callers).where(here).values(times=refused_callers.c.times + 1, last_at=now, reason=reason)
            )
            count = connection.execute(select(func.count()).select_from(refused_callers)).scalar_one()
            # A port scan with random titles must not fill the ledger.
            if changed.rowcount == 0 and count < _MOST_REFUSED_CALLERS:
                connection.execute(
                    insert(refused_callers).values(calling_ae_title=title, address=address, times=1, last_at=now, reason=reason)
                )
