"""Association requests are read, and answered, as pynetdicom reads and answers them; whatever comes instead is refused by name."""

import struct
import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pynetdicom import DEFAULT_TRANSFER_SYNTAXES, build_context, sop_class
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext, negotiate_unrestricted
from pynetdicom.sop_class import CTImageStorage, StorageCommitmentPushModel, Verification

from trabecula_service.receive.association_pdus import AssociationRequest, decode_request, encode_acceptance, negotiate
from trabecula_service.receive.dimse_commands import ProtocolError

_SUPPORTED = dict.fromkeys((Verification, StorageCommitmentPushModel), DEFAULT_TRANSFER_SYNTAXES)
_NO_STORAGE = [
    uid
    for name in ("PatientRootQueryRetrieveInformationModelFind", "ModalityWorklistInformationFind", "MediaStorageDirectoryStorage")
    if (uid := getattr(sop_class, name, None)) is not None
]


def _request(contexts: list[PresentationContext], roles: dict[str, tuple[bool, bool]] | None = None) -> bytes:
    """An A-ASSOCIATE-RQ PDU by pynetdicom; its context numbers are 1, 3, 5, ..."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "SCANNER", "TRABECULA"
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    primitive.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = 54321, "1.2.3.4"
    user: list[object] = [length, implementation]
    for uid, (scu, scp) in (roles or {}).items():
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = uid, scu, scp
        user.append(role)
    primitive.user_information = user
    return bytes(A_ASSOCIATE_RQ(primitive).encode())


def _answer(request: AssociationRequest) -> A_ASSOCIATE:
    """What pynetdicom reads from our acceptance."""
    pdu = A_ASSOCIATE_AC()
    pdu.decode(encode_acceptance(request, negotiate(request.contexts, _SUPPORTED), max_pdu_bytes=131072))
    return pdu.to_primitive()


def _plain(context: PresentationContext) -> tuple[int | None, int | None, list[str]]:
    return context.context_id, context.result, [str(syntax) for syntax in context.transfer_syntax]


def _mixed_contexts() -> list[PresentationContext]:
    private, unknown = "1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.9999"
    uids = [Verification, StorageCommitmentPushModel, private, unknown, *_NO_STORAGE]
    storage = [context.abstract_syntax for context in AllStoragePresentationContexts[: 120 - len(uids)]]
    return [build_context(uid, ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.1"]) for uid in [*uids, *storage] if uid is not None]


def test_who_calls_whom_and_how_long_a_message_may_be_are_read() -> None:
    request = decode_request(_request([build_context(CTImageStorage)])[6:])
    assert (request.calling_ae_title, request.called_ae_title, request.max_pdu_bytes) == ("SCANNER", "TRABECULA", 54321)


def test_contexts_are_answered_as_pynetdicom_answers_them() -> None:
    contexts = _mixed_contexts()
    request = _request(contexts)
    theirs, _ = negotiate_unrestricted(contexts, [build_context(uid) for uid in _SUPPORTED])
    ours = _answer(decode_request(request[6:])).presentation_context_definition_results_list
    assert [_plain(context) for context in ours] == [_plain(context) for context in theirs]
    assert {context.result for context in ours} == {0, 3}


def test_a_class_in_a_transfer_syntax_that_is_not_served_is_refused_with_the_reason() -> None:
    request = decode_request(_request([build_context(Verification, "1.2.840.10008.1.2.4.90")])[6:])
    assert [answer.result for answer in negotiate(request.contexts, _SUPPORTED)] == [4]


def test_proposed_roles_are_agreed_to() -> None:
    roles = {str(CTImageStorage): (True, True), "1.2.840.10008.5.1.4.1.1.4": (True, False)}
    answer = _answer(decode_request(_request([build_context(CTImageStorage)], roles)[6:]))
    items = [item for item in answer.user_information if isinstance(item, SCP_SCU_RoleSelectionNegotiation)]
    assert [(item.sop_class_uid, item.scu_role, item.scp_role) for item in items] == [(CTImageStorage, True, True)]


def test_a_uid_that_is_none_spoils_its_own_context_only() -> None:
    pdu = _request([build_context("1.2.3.4.5.6", "1.2.840.10008.1.2.1"), build_context(CTImageStorage, "1.2.840.10008.1.2.1")])
    request = decode_request(pdu.replace(b"1.2.3.4.5.6", b"../../../..")[6:])
    assert [answer.result for answer in negotiate(request.contexts, _SUPPORTED)] == [3, 0]


@pytest.mark.parametrize(
    ("start", "length", "instead"),
    [(68, 4, b"\x10\x00\xff\xff"), (68 + 25 + 4, 1, b"\x02"), (60, 10_000, b"")],
    ids=["length beyond the end", "even number of a context", "cut off"],
)
def test_a_spoilt_request_is_refused_by_name(start: int, length: int, instead: bytes) -> None:
    body = _request([build_context(CTImageStorage)])[6:]
    with pytest.raises(ProtocolError):
        decode_request(body[:start] + instead + body[start + length :])


@given(st.binary(max_size=400), st.booleans())
@example(b"\x20\x00\x00\x04\x01\x00\x00\x00", True)
def test_any_bytes_are_answered_or_refused_by_name(content: bytes, fixed_part: bool) -> None:
    body = struct.pack(">HH", 1, 0) + b" " * 64 + content if fixed_part else content
    try:
        request = decode_request(body)
    except ProtocolError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert encode_acceptance(request, negotiate(request.contexts, _SUPPORTED), max_pdu_bytes=16384)[0] == 0x02
