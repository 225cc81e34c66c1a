"""The accepting side of the DICOM upper layer (PS3.8) on one blocking connection in one thread.

pynetdicom's own runs two polling threads for each association and copies every fragment several times (docs/adr/0014). Everything that
comes from the other side is bounded: lengths, times, the number of fragments in memory (none: a data set goes to its sink as it comes).
"""

import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from trabecula_service.receive.association_pdus import (
    ACCEPTED,
    AssociationRequest,
    decode_request,
    encode_acceptance,
    negotiate,
)
from trabecula_service.receive.dimse_commands import Command, ProtocolError, decode_command

_ASSOCIATE_RQ, _P_DATA, _RELEASE_RQ, _ABORT = 0x01, 0x04, 0x05, 0x07
_RELEASE_RP_PDU = struct.pack(">BBLL", 0x06, 0, 4, 0)
_ABORT_PDU = struct.pack(">BBLBBBB", 0x07, 0, 4, 0, 0, 2, 0)
"""Source 2: the service provider (PS3.8 table 9-26)."""

_LONGEST_ASSOCIATE_BYTES = 1 << 20
_LONGEST_COMMAND_BYTES = 1 << 16
_SHORTEST_LIMIT_BYTES = 1 << 20
"""Some senders ignore our limit of the PDU; up to this they are taken all the same."""


class End(StrEnum):
    """How an association ended."""

    RELEASED = "released"
    ABORTED = "aborted"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why an association is not accepted: result, source and reason (PS3.8 table 9-21)."""

    result: int
    source: int
    reason: int


CALLING_TITLE_NOT_RECOGNISED = Rejection(result=1, source=1, reason=3)
CALLED_TITLE_NOT_RECOGNISED = Rejection(result=1, source=1, reason=7)
LOCAL_LIMIT_EXCEEDED = Rejection(result=2, source=3, reason=2)


class Transfer(Protocol):
    """What is done with one message: fragments of its data set as they come, then the answers."""

    def write(self, fragment: memoryview) -> None:
        """Take a fragment; valid only during the call. Never raises for what is in it."""

    def finish(self) -> Sequence[tuple[bytes, bytes]]:
        """The message is complete: commands to answer with, each with its data set or b""."""

    def abandon(self) -> None:
        """The message will never be complete."""


class PeerConnection:
    """One association, from its request to its end. Not for several threads, but ``break_off`` may be called from another.

    ``fault`` says why we ended it, if we did.
    """

    def __init__(self, connection: socket.socket, *, max_pdu_bytes: int, idle_seconds: float) -> None:
        self._socket, self._max_pdu_bytes, self._idle_seconds = connection, max_pdu_bytes, idle_seconds
        self._buffer = bytearray(max_pdu_bytes + 6)
        self._peer_pdu_bytes = 16384
        self._syntaxes: dict[int, str] = {}
        self._awaits_data = False
        self.fault = ""

    def read_request(self, seconds: float) -> AssociationRequest:
        """Wait for the A-ASSOCIATE request, so long.

        Raises
        ------
        ProtocolError
            If something else comes, or it cannot be read.
        OSError
            If the connection breaks or nothing comes in time.
        """
        self._wait_at_most(seconds)
        kind, body = self._read_pdu(_LONGEST_ASSOCIATE_BYTES, seconds)
        if kind != _ASSOCIATE_RQ:
            raise ProtocolError("the first PDU is no association request")
        request = decode_request(bytes(body))
        limit = request.max_pdu_bytes
        self._peer_pdu_bytes = min(max(limit, 128), 1 << 20) if limit else 1 << 20
        return request

    def accept(self, request: AssociationRequest, supported: Mapping[str, Sequence[str]]) -> None:
        """Accept it: any storage class in the sender's first transfer syntax, and the supported SOP classes with theirs."""
        answers = negotiate(request.contexts, supported)
        self._syntaxes = {answer.context_id: answer.transfer_syntax for answer in answers if answer.result == ACCEPTED}
        self._socket.sendall(encode_acceptance(request, answers, max_pdu_bytes=self._max_pdu_bytes))

    def reject(self, rejection: Rejection) -> None:
        """Refuse it."""
        self._socket.sendall(struct.pack(">BBLBBBB", 0x03, 0, 4, 0, rejection.result, rejection.source, rejection.reason))

    def serve(self, begin: Callable[[Command, str], Transfer]) -> End:
        """Take messages until the association ends; ``begin`` gets each command with the transfer syntax of its data set."""
        transfer: Transfer | None = None
        command = bytearray()
        longest = max(self._max_pdu_bytes, _SHORTEST_LIMIT_BYTES)
        self._wait_at_most(self._idle_seconds)
        try:
            while True:
                kind, body = self._read_pdu(longest, self._idle_seconds)
                if kind == _RELEASE_RQ:
                    self._socket.sendall(_RELEASE_RP_PDU)
                    return End.RELEASED
                if kind == _ABORT:
                    return End.ABORTED
                if kind != _P_DATA:
                    raise ProtocolError("a PDU that has no place here")
                for context_id, header, fragment in _fragments(body):
                    if context_id not in self._syntaxes:
                        raise ProtocolError("a message for a context that was not accepted")
                    if header & 1:
                        transfer = self._take_command(command, fragment, context_id, header, transfer, begin)
                        finished = transfer is not None and not self._awaits_data
                    else:
                        if transfer is None:
                            raise ProtocolError("a data set without a command")
                        transfer.write(fragment)
                        finished = bool(header & 2)
                    if transfer is not None and finished:
                        ended, transfer = transfer, None
                        for answer, data_set in ended.finish():
                            self.send_message(context_id, answer, data_set)
        except ProtocolError as error:
            self.fault = error.what
            self._send_abort()
            return End.ABORTED
        except OSError as error:
            self.fault = "nothing came in time" if isinstance(error, TimeoutError) else "the connection broke"
            self._send_abort()
            return End.LOST
        finally:
            if transfer is not None:
                transfer.abandon()

    def send_message(self, context_id: int, command: bytes, data_set: bytes = b"") -> None:
        """Send one message in fragments that fit the other side."""
        parts = [(0x01, command)] + ([(0x00, data_set)] if data_set else [])
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.settimeout(self._idle_seconds)
        self._socket.sendall(b"".join(_p_data(context_id, kind, part, self._peer_pdu_bytes) for kind, part in parts))

    def break_off(self) -> None:
        """End the association from another thread."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It had ended by itself.
            return

    def _take_command(
        self,
        collected: bytearray,
        fragment: memoryview,
        context_id: int,
        header: int,
        transfer: Transfer | None,
        begin: Callable[[Command, str], Transfer],
    ) -> Transfer | None:
        if transfer is not None:
            raise ProtocolError("a command inside of a data set")
        collected += fragment
        if len(collected) > _LONGEST_COMMAND_BYTES:
            raise ProtocolError("a command that is too long")
        self._awaits_data = True
        if not header & 2:
            return None
        command = decode_command(bytes(collected))
        collected.clear()
        self._awaits_data = command.has_data_set
        return begin(command, self._syntaxes[context_id])

    def _send_abort(self) -> None:
        try:
            self._wait_at_most(1.0)
            self._socket.sendall(_ABORT_PDU)
        except OSError:
            # The other side is gone; there is nobody to tell.
            return

    def _read_pdu(self, longest: int, seconds: float) -> tuple[int, memoryview]:
        """The next PDU's kind and body; the body is valid until the next call."""
        head = self._read(6, time.monotonic() + seconds)
        kind, _, length = struct.unpack(">BBL", head)
        if not 1 <= kind <= 7 or length > longest:
            raise ProtocolError("a PDU of an unknown kind or an impossible length")
        # A PDU that has begun must end in time too, so that a sender of one byte a minute holds nothing.
        return kind, self._read(length, time.monotonic() + seconds)

    def _read(self, count: int, deadline: float) -> memoryview:
        if count > len(self._buffer):
            self._buffer = bytearray(count)
        view = memoryview(self._buffer)[:count]
        done = 0
        while done < count:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError("nothing came in time")
            received = self._receive(view[done:], remaining)
            if received == 0:
                raise ConnectionResetError("the connection was closed")
            done += received
        return view

    def _receive(self, view: memoryview, seconds: float) -> int:
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.settimeout(seconds)
            return self._socket.recv_into(view)
        try:
            return self._socket.recv_into(view, 0, socket.MSG_WAITALL)
        except BlockingIOError as error:
            raise TimeoutError("nothing came in time") from error

    def _wait_at_most(self, seconds: float) -> None:
        """For each call of the socket. The kernel waits, not Python, and for a whole PDU: otherwise each segment takes several calls, and
        after each of them the thread waits for its turn among all associations.
        """
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.settimeout(seconds)
            return
        self._socket.settimeout(None)
        limit = struct.pack("@ll", *divmod(max(1, int(seconds * 1e6)), 1_000_000))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _fragments(body: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    offset = 0
    while offset < len(body):
        if offset + 6 > len(body):
            raise ProtocolError("a fragment that is cut off")
        (length,) = struct.unpack_from(">L", body, offset)
        if length < 2 or offset + 4 + length > len(body):
            raise ProtocolError("a fragment of an impossible length")
        yield body[offset + 4], body[offset + 5], body[offset + 6 : offset + 4 + length]
        offset += 4 + length


def _p_data(context_id: int, kind: int, content: bytes, pdu_bytes: int) -> bytes:
    """All P-DATA PDUs of one part of a message; ``kind`` 1 for a command, 0 for a data set."""
    step = pdu_bytes - 6
    pieces = [content[start : start + step] for start in range(0, len(content), step)]
    out = []
    for number, piece in enumerate(pieces):
        header = kind | (2 if number == len(pieces) - 1 else 0)
        out.append(struct.pack(">BBLLBB", _P_DATA, 0, len(piece) + 6, len(piece) + 2, context_id, header) + piece)
    return b"".join(out)
