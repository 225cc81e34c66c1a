"""Bytes of whole associations, as a sender puts them on the wire; and ways to spoil them."""

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification

RELEASE = struct.pack(">BBLL", 0x05, 0, 4, 0)
PDV_BYTES = 16000


@dataclass(frozen=True)
class WireObject:
    """An object to send: its data set as it is encoded."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes


def associate(objects: Sequence[WireObject], *, calling: str = "SCANNER", called: str = "TRABECULA") -> bytes:
    """The A-ASSOCIATE request: one context for each object, numbered 1, 3, 5, ..."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    contexts = []
    for number, item in enumerate(objects):
        context = build_context(item.sop_class_uid, item.transfer_syntax_uid)
        context.context_id = 2 * number + 1
        contexts.append(context)
    primitive.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = 16384, "1.2.3.4"
    primitive.user_information = [length, implementation]
    return bytes(A_ASSOCIATE_RQ(primitive).encode())


def store_command(item: WireObject, message_id: int) -> bytes:
    """The command set of a C-STORE request."""
    elements = [
        (0x0002, _even(item.sop_class_uid)),
        (0x0100, struct.pack("<H", 1)),
        (0x0110, struct.pack("<H", message_id)),
        (0x0700, struct.pack("<H", 0)),
        (0x0800, struct.pack("<H", 1)),
        (0x1000, _even(item.sop_instance_uid)),
    ]
    body = b"".join(struct.pack("<HHL", 0, element, len(value)) + value for element, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def message(context_id: int, command: bytes, data_set: bytes) -> bytes:
    """The P-DATA PDUs of one message."""
    out = []
    for kind, content in ((1, command), (0, data_set)):
        pieces = [content[start : start + PDV_BYTES] for start in range(0, len(content), PDV_BYTES)] or [b""]
        for number, piece in enumerate(pieces):
            header = kind | (2 if number == len(pieces) - 1 else 0)
            out.append(struct.pack(">BBLLBB", 0x04, 0, len(piece) + 6, len(piece) + 2, context_id, header) + piece)
    return b"".join(out)


def whole_association(objects: Sequence[WireObject]) -> bytes:
    """Request, all objects, release; the answers are not waited for."""
    stores = [message(2 * n + 1, store_command(item, n + 1), item.data_set) for n, item in enumerate(objects)]
    return associate(objects) + b"".join(stores) + RELEASE


def spoil(content: bytes, chance: random.Random, *, most_changes: int = 6) -> bytes:
    """The bytes with a few faults: flipped, cut, doubled, moved, or numbers at the edge of what they may be."""
    spoiled = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, most_changes))):
        if not spoiled:
            return b""
        # Faults near the beginning meet lengths and headers, which matter most.
        reach = chance.choice((64, 512, len(spoiled), len(spoiled)))
        place = chance.randrange(min(reach, len(spoiled)))
        span = min(chance.choice((1, 2, 4, 16, 200)), len(spoiled) - place)
        match chance.randrange(7):
            case 0:
                spoiled[place] ^= 1 << chance.randrange(8)
            case 1:
                del spoiled[place : place + span]
            case 2:
                spoiled[place:place] = chance.randbytes(span)
            case 3:
                spoiled[place:place] = spoiled[place : place + span]
            case 4:
                del spoiled[place + span :]
            case 5:
                spoiled[place : place + span] = chance.choice((b"\x00", b"\xff", b"\x7f", b"\x80")) * span
            case _:
                spoiled[place : place + 4] = struct.pack(chance.choice("<>") + "L", chance.choice((0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 1 << 24)))
    return bytes(spoiled)


def _even(text: str) -> bytes:
    value = text.encode("ascii", "replace")
    return value + b"\x00" * (len(value) % 2)
