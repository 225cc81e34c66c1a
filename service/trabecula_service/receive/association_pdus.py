"""Requests and acceptances of associations (PS3.8 9.3.2 and 9.3.3), read and written without a library.

A sender proposes up to 128 contexts, and pynetdicom checks the UIDs of each several times: 20 ms of a processor for each association, which
16 senders at once wait for one after another (docs/adr/0014). They are read before anything is known of the sender, so every length is
checked.
"""

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from pydicom.config import IGNORE
from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION, sop_class
from pynetdicom.service_class import StorageServiceClass

from trabecula_service.receive.dimse_commands import ProtocolError

_FIXED_BYTES = 68
"""Protocol version, the two AE titles and what is reserved, before the items (PS3.8 table 9-11)."""
_APPLICATION, _CONTEXT_RQ, _CONTEXT_AC, _ABSTRACT, _TRANSFER, _USER = 0x10, 0x20, 0x21, 0x30, 0x40, 0x50
_MAX_LENGTH, _IMPLEMENTATION_CLASS, _ROLE, _IMPLEMENTATION_VERSION = 0x51, 0x52, 0x54, 0x55
_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
_UID_FORM = re.compile(r"[0-9.]{1,64}")
_MOST_CONTEXTS = 128

ACCEPTED, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = 0, 3, 4
"""Results of a context, PS3.8 table 9-18."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedContext:
    """One presentation context that a sender offers; without what is no UID."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredContext:
    """What we say to it; the transfer syntax has a meaning only where it is accepted."""

    context_id: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRequest:
    """Who calls whom, and for what.

    ``max_pdu_bytes`` is the longest PDU that the sender takes, 0 for any. ``roles`` are proposals of SCU and SCP role for a SOP class.
    ``titles`` are the bytes that an acceptance gives back as they came.
    """

    calling_ae_title: str
    called_ae_title: str
    contexts: tuple[ProposedContext, ...]
    max_pdu_bytes: int = 0
    roles: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    titles: bytes = b" " * 64


def decode_request(body: bytes) -> AssociationRequest:
    """Read the body of an A-ASSOCIATE-RQ PDU.

    Raises
    ------
    ProtocolError
        If it is cut off, or its contexts are not as the standard has them.
    """
    if len(body) < _FIXED_BYTES:
        raise ProtocolError("an association request that is cut off")
    contexts: list[ProposedContext] = []
    max_pdu_bytes, roles = 0, {}
    for kind, content in _items(body, _FIXED_BYTES):
        if kind == _CONTEXT_RQ:
            contexts.append(_context(content))
        elif kind == _USER:
            for sub_kind, value in _items(content, 0):
                if sub_kind == _MAX_LENGTH and len(value) == 4:
                    max_pdu_bytes = int.from_bytes(value, "big")
                elif sub_kind == _ROLE:
                    sop_class_uid, proposed = _role(value)
                    roles[sop_class_uid] = proposed
    if len({context.context_id for context in contexts}) < len(contexts) or len(contexts) > _MOST_CONTEXTS:
        raise ProtocolError("an association request with two contexts of one number, or too many")
    return AssociationRequest(
        calling_ae_title=_title(body[20:36]),
        called_ae_title=_title(body[4:20]),
        contexts=tuple(contexts),
        max_pdu_bytes=max_pdu_bytes,
        roles=roles,
        titles=body[4:_FIXED_BYTES],
    )


def negotiate(contexts: Sequence[ProposedContext], supported: Mapping[str, Sequence[str]]) -> list[AnsweredContext]:
    """Accept any class that stores objects, also private and unknown ones, in the sender's first transfer syntax; and what is supported.

    Parameters
    ----------
    supported : the transfer syntaxes, the best first, of the other SOP classes that are served.
    """
    return [_answer(context, supported) for context in contexts]


def encode_acceptance(request: AssociationRequest, answers: Sequence[AnsweredContext], *, max_pdu_bytes: int) -> bytes:
    """The A-ASSOCIATE-AC PDU; proposed roles for accepted classes are agreed to as they are."""
    accepted = {answer.context_id for answer in answers if answer.result == ACCEPTED}
    classes = {context.abstract_syntax for context in request.contexts if context.context_id in accepted}
    items = [_item(_APPLICATION, _APPLICATION_CONTEXT)]
    for answer in answers:
        syntax = _item(_TRANSFER, answer.transfer_syntax.encode("ascii"))
        items.append(_item(_CONTEXT_AC, bytes((answer.context_id, 0, answer.result, 0)) + syntax))
    user = [
        _item(_MAX_LENGTH, struct.pack(">L", max_pdu_bytes)),
        _item(_IMPLEMENTATION_CLASS, str(PYNETDICOM_IMPLEMENTATION_UID).encode("ascii")),
        *(
            _item(_ROLE, struct.pack(">H", len(uid)) + uid.encode("ascii") + bytes(proposed))
            for uid, proposed in sorted(request.roles.items())
            if uid in classes
        ),
        _item(_IMPLEMENTATION_VERSION, str(PYNETDICOM_IMPLEMENTATION_VERSION).encode("ascii")),
    ]
    body = struct.pack(">HH", 1, 0) + request.titles + b"".join(items) + _item(_USER, b"".join(user))
    return struct.pack(">BBL", 0x02, 0, len(body)) + body


def _answer(context: ProposedContext, supported: Mapping[str, Sequence[str]]) -> AnsweredContext:
    # An answer names a transfer syntax even where it has no meaning.
    first = next(iter(context.transfer_syntaxes), str(ImplicitVRLittleEndian))
    if context.abstract_syntax in supported:
        syntax = next((s for s in supported[context.abstract_syntax] if s in context.transfer_syntaxes), None)
    elif _stores(context.abstract_syntax):
        syntax = first if context.transfer_syntaxes else None
    else:
        return AnsweredContext(context_id=context.context_id, result=ABSTRACT_SYNTAX_NOT_SUPPORTED, transfer_syntax=first)
    result = TRANSFER_SYNTAXES_NOT_SUPPORTED if syntax is None else ACCEPTED
    return AnsweredContext(context_id=context.context_id, result=result, transfer_syntax=syntax or first)


@lru_cache(maxsize=4096)
def _stores(sop_class_uid: str) -> bool:
    """Whether objects of this class can be sent to us: all but the known ones that are no storage."""
    if not sop_class_uid:
        return False
    uid = UID(sop_class_uid, validation_mode=IGNORE)
    return uid.is_private or not hasattr(sop_class, uid.keyword) or sop_class.uid_to_service_class(uid) is StorageServiceClass


def _context(content: bytes) -> ProposedContext:
    if len(content) < 4 or content[0] % 2 == 0:
        raise ProtocolError("a presentation context that is cut off or has an even number")
    parts = [(kind, _uid(value)) for kind, value in _items(content, 4)]
    abstract = next((uid for kind, uid in parts if kind == _ABSTRACT), "")
    transfer = tuple(uid for kind, uid in parts if kind == _TRANSFER and uid)
    return ProposedContext(context_id=content[0], abstract_syntax=abstract, transfer_syntaxes=transfer)


def _role(value: bytes) -> tuple[str, tuple[int, int]]:
    length = int.from_bytes(value[:2], "big")
    if len(value) != length + 4:
        raise ProtocolError("a role selection that is cut off")
    return _uid(value[2 : 2 + length]), (value[-2] & 1, value[-1] & 1)


def _items(content: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    while offset < len(content):
        if offset + 4 > len(content):
            raise ProtocolError("an item of an association request that is cut off")
        kind, length = struct.unpack_from(">BxH", content, offset)
        offset += 4
        if offset + length > len(content):
            raise ProtocolError("an item of an association request that is cut off")
        yield kind, content[offset : offset + length]
        offset += length


def _uid(value: bytes) -> str:
    """The UID; empty if it is none: that spoils one context, not the others."""
    text = _title(value)
    return text if _UID_FORM.fullmatch(text) else ""


def _title(value: bytes) -> str:
    return value.decode("ascii", "replace").strip("\x00 ")


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content
