"""The Storage SCP: durable bytes, a committed row, then 0x0000; C-ECHO; only callers that are allowed."""

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import structlog
from pynetdicom import DEFAULT_TRANSFER_SYNTAXES
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from trabecula_morphometry.errors import SettingsError
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.schema import refused_callers
from trabecula_service.receive.association_pdus import AssociationRequest
from trabecula_service.receive.callers import CallerList, refusal_hint
from trabecula_service.receive.commitment import CommitmentRequest
from trabecula_service.receive.commitment_notice import CommitmentNotice
from trabecula_service.receive.commits import SharedCommits
from trabecula_service.receive.dimse_commands import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_STORE_RQ,
    N_ACTION_RQ,
    N_EVENT_REPORT_RQ,
    RESPONSE,
    Command,
    ProtocolError,
)
from trabecula_service.receive.intake import close_association, open_association
from trabecula_service.receive.object_store import ObjectStore
from trabecula_service.receive.storing import SUCCESS, Answer, Intaker, NoAnswer, StoreTransfer
from trabecula_service.receive.tls import listener_tls
from trabecula_service.receive.upper_layer import (
    CALLED_TITLE_NOT_RECOGNISED,
    CALLING_TITLE_NOT_RECOGNISED,
    LOCAL_LIMIT_EXCEEDED,
    End,
    PeerConnection,
    Rejection,
    Transfer,
)
from trabecula_service.settings.receive import ReceiveSettings

UNRECOGNISED_OPERATION = 0x0211
"""PS3.7 annex C."""

_REQUEST_SECONDS = 30.0
"""An association must be asked for within this time after the connection (ARTIM timer, PS3.8 9.1.5)."""
_MORE_CONNECTIONS = 32
"""Connections beyond the associations that may be open, so that each can still be told why it is refused; more are closed."""
_MOST_REFUSED_CALLERS = 100
_BACKLOG = 128
_LEDGER_PAUSE_SECONDS = 1.0
_LEAVE_SECONDS = 10.0

log = structlog.get_logger("trabecula.receive")


class Listener:
    """Takes objects from scanners and PACS. ``start`` returns at once; each association has a thread of its own.

    ``listening`` is a socket that is shared with other processes; by default the listener makes its own.
    """

    def __init__(
        self,
        settings: ReceiveSettings,
        ledger: Ledger,
        store: ObjectStore,
        *,
        run_id: str,
        data: Path,
        clock: Callable[[], float] = time.time,
        listening: socket.socket | None = None,
    ) -> None:
        self._settings, self._ledger, self._run_id, self._clock = settings, ledger, run_id, clock
        self._callers = CallerList(settings.allowed_callers)
        self._supported = dict.fromkeys((Verification, StorageCommitmentPushModel), DEFAULT_TRANSFER_SYNTAXES)
        self._commits = SharedCommits(ledger)
        self._intaker = Intaker(store, self._commits, data=data, reserve_free_gib=settings.reserve_free_gib, clock=clock)
        self._lock = Lock()
        self._connections: dict[PeerConnection, Thread] = {}
        self._associations = 0
        self._tls = listener_tls(settings)
        self._given_socket = listening
        self._socket: socket.socket | None = None
        self._acceptor: Thread | None = None

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
        self._socket = self._given_socket or listening_socket(self._settings)
        self._acceptor = Thread(target=self._accept, args=(self._socket,), name="trabecula-listener", daemon=True)
        self._acceptor.start()
        log.info("listening", ae_title=self._settings.ae_title, address=self._settings.bind, port=self.port)

    def stop(self) -> None:
        """Stop listening; open associations are aborted, what they had sent is kept."""
        if self._socket is None:
            return
        listening, self._socket = self._socket, None
        if self._given_socket is None:
            # Wakes the thread that waits in accept(); closing alone does not. On a shared socket it would end the others' waiting too.
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        with self._lock:
            open_ones = list(self._connections.items())
        for connection, _ in open_ones:
            connection.break_off()
        for _, thread in open_ones:
            thread.join(_LEAVE_SECONDS)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connected, address = listening.accept()
            except OSError:
                if self._socket is None:
                    return
                # No file descriptor left, or the connection was gone before it was taken.
                time.sleep(0.05)
                continue
            with self._lock:
                room = len(self._connections) < self._settings.max_associations + _MORE_CONNECTIONS
            if not room:
                connected.close()
                continue
            try:
                self._serve_in_thread(connected, str(address[0]))
            except OSError:
                # Gone before it was served.
                connected.close()

    def _serve_in_thread(self, connected: socket.socket, address: str) -> None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            # Without the handshake, which waits for the other side: it belongs into the association's own thread.
            connected = self._tls.context().wrap_socket(connected, server_side=True, do_handshake_on_connect=False)
        peer = PeerConnection(connected, max_pdu_bytes=self._settings.max_pdu_bytes, idle_seconds=self._settings.idle_seconds)
        thread = Thread(target=self._serve, args=(peer, connected, address), name="trabecula-association", daemon=True)
        with self._lock:
            self._connections[peer] = thread
        thread.start()

    def _serve(self, peer: PeerConnection, connected: socket.socket, address: str) -> None:
        try:
            if isinstance(connected, ssl.SSLSocket):
                connected.settimeout(_REQUEST_SECONDS)
                connected.do_handshake()
            request = peer.read_request(min(_REQUEST_SECONDS, self._settings.idle_seconds))
            with self._lock:
                self._associations += 1
                too_many = self._associations > self._settings.max_associations
            try:
                rejection = LOCAL_LIMIT_EXCEEDED if too_many else self._why_rejected(request, address)
                if rejection is not None:
                    peer.reject(rejection)
                    self._note_rejection(request, address, rejection)
                else:
                    self._associate(peer, request, address)
            finally:
                with self._lock:
                    self._associations -= 1
        except (ProtocolError, OSError, SQLAlchemyError) as error:
            # Before an association there is nothing to lose: a port scan, a health check of a load balancer, a ledger that is busy.
            log.info("connection_ended", address=address, error=type(error).__name__)
        finally:
            with self._lock:
                self._connections.pop(peer, None)
            connected.close()

    def _why_rejected(self, request: AssociationRequest, address: str) -> Rejection | None:
        try:
            if not self._callers.allows(request.calling_ae_title, address):
                return CALLING_TITLE_NOT_RECOGNISED
        except ValueError:
            return CALLING_TITLE_NOT_RECOGNISED
        return None if request.called_ae_title == self._settings.ae_title else CALLED_TITLE_NOT_RECOGNISED

    def _note_rejection(self, request: AssociationRequest, address: str, rejection: Rejection) -> None:
        title = request.calling_ae_title
        if rejection is not CALLING_TITLE_NOT_RECOGNISED:
            reason = "too many associations" if rejection is LOCAL_LIMIT_EXCEEDED else "called by another AE title"
            log.warning("association_refused", calling_ae_title=title, address=address, reason=reason)
            return
        hint = refusal_hint(title, address)
        log.warning("caller_refused", calling_ae_title=title, address=address, hint=hint)
        self._commits.run(lambda connection: note_refusal(connection, title, address, hint, self._clock()))

    def _associate(self, peer: PeerConnection, request: AssociationRequest, address: str) -> None:
        title = request.calling_ae_title
        association_id = self._commits.run(lambda c: open_association(c, self._run_id, title, address, self._clock()))
        end = End.LOST
        try:
            peer.accept(request, self._supported)
            end = peer.serve(lambda command, syntax: self._begin(command, syntax, association_id, title))
        finally:
            self._enter_end(association_id, end)
            log.info("association_ended", association_id=association_id, end=end, reason=peer.fault)

    def _enter_end(self, association_id: int, end: End) -> None:
        # Its studies wait for this row, so a ledger that is away for a moment is waited for; after a stop, others see that we are gone.
        while True:
            try:
                self._commits.run(lambda connection: close_association(connection, association_id, end, self._clock()))
                return
            except SQLAlchemyError:
                if self._socket is None:
                    raise
                time.sleep(_LEDGER_PAUSE_SECONDS)

    def _begin(self, command: Command, transfer_syntax_uid: str, association_id: int, title: str) -> Transfer:
        if command.field == C_STORE_RQ:
            return StoreTransfer(self._intaker, command, transfer_syntax_uid, association_id)
        if command.field == C_ECHO_RQ:
            return Answer(command, SUCCESS)
        if command.field == N_ACTION_RQ and command.sop_class_uid == StorageCommitmentPushModel:
            has_address = title in self._settings.commitment_peers
            return CommitmentRequest(
                command, transfer_syntax_uid, calling_ae_title=title, commits=self._commits, has_address=has_address, clock=self._clock
            )
        if command.field == N_EVENT_REPORT_RQ and command.sop_class_uid == StorageCommitmentPushModel:
            return CommitmentNotice(command, transfer_syntax_uid, commits=self._commits, clock=self._clock)
        if command.field == C_CANCEL_RQ or command.field & RESPONSE:
            return NoAnswer(command, SUCCESS)
        return Answer(command, UNRECOGNISED_OPERATION)


def listening_socket(settings: ReceiveSettings) -> socket.socket:
    """The socket that is listened on.

    Raises
    ------
    SettingsError
        If the port is taken or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.bind, settings.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        hint = f"{error.strerror}; stop the other program or set another port"
        where = f"receive.bind, receive.port = {settings.bind}:{settings.port}"
        raise SettingsError("the listener cannot start", where=where, hint=hint) from error
    return listening


def note_refusal(connection: Connection, title: str, address: str, reason: str, now: float) -> None:
    """Enter a caller that was refused, for the page."""
    here: Any = (refused_callers.c.calling_ae_title == title) & (refused_callers.c.address == address)
    changed = connection.execute(update(refused_callers).where(here).values(times=refused_callers.c.times + 1, last_at=now, reason=reason))
    count = connection.execute(select(func.count()).select_from(refused_callers)).scalar_one()
    # A port scan with random titles must not fill the ledger.
    if changed.rowcount == 0 and count < _MOST_REFUSED_CALLERS:
        connection.execute(insert(refused_callers).values(calling_ae_title=title, address=address, times=1, last_at=now, reason=reason))
