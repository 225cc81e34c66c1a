"""Command sets of DIMSE messages: flat lists of implicit little endian elements (PS3.7 6.3.1), read and written without a library.

They are read before anything is known of the sender, so every length is checked and nothing is interpreted but the few elements below.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from trabecula_morphometry.errors import TrabeculaError

C_STORE_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0030, 0x0FFF
N_ACTION_RQ, N_EVENT_REPORT_RQ = 0x0130, 0x0100
RESPONSE = 0x8000
"""A response has the code of its request with this bit set."""

_AFFECTED_CLASS, _REQUESTED_CLASS, _FIELD, _MESSAGE_ID, _RESPONDED_ID = 0x0002, 0x0003, 0x0100, 0x0110, 0x0120
_DATA_SET_TYPE, _STATUS, _AFFECTED_INSTANCE, _REQUESTED_INSTANCE = 0x0800, 0x0900, 0x1000, 0x1001
_EVENT_TYPE, _ACTION_TYPE = 0x1002, 0x1008
_NO_DATA_SET = 0x0101
_LONGEST_UID = 128
"""PS3.5 allows 64; what is longer is cut, so that it can be stored and told."""


class ProtocolError(TrabeculaError):
    """The other side does not speak DICOM as the standard has it; the association is ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The elements of a command that a receiver needs; texts are empty and numbers 0 where it has none."""

    field: int
    message_id: int = 0
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    action_type: int = 0
    status: int = 0
    has_data_set: bool = False


def decode_command(encoded: bytes) -> Command:
    """Read a command set.

    Raises
    ------
    ProtocolError
        If it is cut off, or has no command field.
    """
    elements = dict(_elements(encoded))
    if len(elements.get(_FIELD, b"")) != 2:
        raise ProtocolError("a command without a command field")
    return Command(
        field=_number(elements, _FIELD),
        message_id=_number(elements, _MESSAGE_ID),
        sop_class_uid=_uid(elements, _AFFECTED_CLASS) or _uid(elements, _REQUESTED_CLASS),
        sop_instance_uid=_uid(elements, _AFFECTED_INSTANCE) or _uid(elements, _REQUESTED_INSTANCE),
        action_type=_number(elements, _ACTION_TYPE),
        status=_number(elements, _STATUS),
        has_data_set=_number(elements, _DATA_SET_TYPE, _NO_DATA_SET) != _NO_DATA_SET,
    )


def encode_response(request: Command, status: int) -> bytes:
    """The response to a request, without a data set."""
    requested = request.field == N_ACTION_RQ
    return _encode(
        [
            (_AFFECTED_CLASS, _padded(request.sop_class_uid)),
            (_FIELD, struct.pack("<H", request.field | RESPONSE)),
            (_RESPONDED_ID, struct.pack("<H", request.message_id)),
            (_DATA_SET_TYPE, struct.pack("<H", _NO_DATA_SET)),
            (_STATUS, struct.pack("<H", status)),
            (_AFFECTED_INSTANCE, _padded(request.sop_instance_uid)),
            (_ACTION_TYPE, struct.pack("<H", request.action_type) if requested else b""),
        ]
    )


def encode_event_report(sop_class_uid: str, sop_instance_uid: str, *, event_type: int, message_id: int) -> bytes:
    """The command of an N-EVENT-REPORT request; its data set follows."""
    return _encode(
        [
            (_AFFECTED_CLASS, _padded(sop_class_uid)),
            (_FIELD, struct.pack("<H", N_EVENT_REPORT_RQ)),
            (_MESSAGE_ID, struct.pack("<H", message_id)),
            (_DATA_SET_TYPE, struct.pack("<H", 1)),
            (_AFFECTED_INSTANCE, _padded(sop_instance_uid)),
            (_EVENT_TYPE, struct.pack("<H", event_type)),
        ]
    )


def _elements(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(encoded):
        if offset + 8 > len(encoded):
            raise ProtocolError("a command that is cut off")
        group, element, length = struct.unpack_from("<HHL", encoded, offset)
        offset += 8
        if group != 0 or offset + length > len(encoded):
            raise ProtocolError("a command that is cut off or holds other groups")
        yield element, encoded[offset : offset + length]
        offset += length


def _number(elements: dict[int, bytes], element: int, default: int = 0) -> int:
    value = elements.get(element, b"")
    return int.from_bytes(value, "little") if len(value) == 2 else default


def _uid(elements: dict[int, bytes], element: int) -> str:
    return elements.get(element, b"").decode("ascii", "replace").strip("\x00 ")[:_LONGEST_UID]


def _padded(uid: str) -> bytes:
    value = uid.encode("ascii", "replace")
    return value + b"\x00" * (len(value) % 2)


def _encode(elements: list[tuple[int, bytes]]) -> bytes:
    body = b"".join(struct.pack("<HHL", 0, element, len(value)) + value for element, value in elements if value)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body
