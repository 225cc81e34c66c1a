"""A receiver of HL7 v2 messages by MLLP (HL7 transport specification, release 1): one connection, one message, one acknowledgement."""

import socket
import ssl
from typing import Protocol

from trabecula_service.deliver.port import Accepted, Item, Refused, Unavailable
from trabecula_service.settings.deliver import MllpDestination

_START, _END = b"\x0b", b"\x1c\x0d"
_MOST_BYTES = 1_000_000
"""No acknowledgement is longer; a peer that sends more is not speaking MLLP."""


class _Connection(Protocol):
    def recv(self, size: int, /) -> bytes: ...


class Mllp:
    """Sends the stored bytes in a frame and believes only an acknowledgement of this very message."""

    def __init__(self, settings: MllpDestination) -> None:
        self._settings = settings

    def deliver(self, item: Item) -> Accepted | Unavailable | Refused:
        """One message; the control id is the same each time, by which the receiver knows a repetition."""
        message = item.path.read_bytes()
        try:
            answer = self._exchange(message)
        except TimeoutError:
            return Unavailable("the receiver does not answer")
        except ssl.SSLError as error:
            return Unavailable(f"TLS failed ({error.reason or 'handshake'})")
        except OSError as error:
            return Unavailable(f"no connection ({error.strerror or type(error).__name__})")
        return outcome_of(answer, control_id_of(message))

    def _exchange(self, message: bytes) -> bytes:
        settings = self._settings
        with socket.create_connection((settings.host, settings.port), timeout=settings.timeout_seconds) as plain:
            if not settings.tls:
                plain.sendall(_START + message + _END)
                return _read_frame(plain)
            context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
            with context.wrap_socket(plain, server_hostname=settings.host) as encrypted:
                encrypted.sendall(_START + message + _END)
                return _read_frame(encrypted)


def _read_frame(connection: _Connection) -> bytes:
    received = bytearray()
    while not received.endswith(_END) and len(received) < _MOST_BYTES:
        part = connection.recv(65536)
        if not part:
            break
        received += part
    return bytes(received).removeprefix(_START).removesuffix(_END)


def control_id_of(message: bytes) -> str:
    """MSH-10."""
    return _fields(message, b"MSH")[9]


def outcome_of(answer: bytes, control_id: str) -> Accepted | Unavailable | Refused:
    """What an acknowledgement means (HL7 v2.5.1 table 0008); one for another message is none for ours."""
    fields = _fields(answer, b"MSA")
    code, acknowledged = fields[1], fields[2]
    if code not in ("AA", "CA", "AE", "CE", "AR", "CR"):
        return Unavailable("the receiver sent no acknowledgement")
    if acknowledged != control_id:
        return Unavailable("the receiver acknowledged another message")
    if code in ("AA", "CA"):
        return Accepted(f"acknowledged ({code})")
    # The text of the receiver may quote the message, so it is not repeated here.
    return Refused(f"the receiver refuses the message ({code})")


def _fields(message: bytes, name: bytes) -> list[str]:
    """Fields of the first segment of this name, padded so that missing ones are empty."""
    for segment in message.replace(b"\n", b"\r").split(b"\r"):
        if segment.startswith(name + b"|"):
            return [part.decode("utf-8", "replace") for part in segment.split(b"|")] + [""] * 12
    return [""] * 12
