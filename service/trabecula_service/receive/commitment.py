"""Storage commitment as SCP (PS3.4 annex J): the ledger says which objects we keep, in a report that the requester gets.

A requester that ``receive.commitment_peers`` names gets it on an association of our own, tried until it succeeds; others at once on theirs.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import structlog
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context, build_role
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.schema import commitments, instances
from trabecula_service.receive.commits import SharedCommits
from trabecula_service.receive.dimse_commands import Command, encode_event_report, encode_response
from trabecula_service.requestor import associate

SUCCESS, PROCESSING_FAILURE, INVALID_ARGUMENT, OUT_OF_RESOURCES = 0x0000, 0x0110, 0x0115, 0x0213
_NO_SUCH_OBJECT, _OTHER_CLASS = 0x0112, 0x0119
"""Failure reasons of PS3.3 C.14.1.1."""
_ALL_KEPT, _SOME_FAILED = 1, 2
_REQUEST = 1
_LONGEST_REQUEST_BYTES = 16 * 1024 * 1024
_AT_ONCE = 500
_REPORT_MESSAGE_ID = 1
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 5.0, 300.0
_GIVE_UP_SECONDS = 7 * 24 * 3600.0
_ANSWER_SECONDS = 30.0

log = structlog.get_logger("trabecula.receive")

Reference = tuple[str, str]
"""SOP class and SOP instance."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which of the objects asked about we keep, and why not the others."""

    kept: tuple[Reference, ...]
    failed: tuple[tuple[str, str, int], ...]


def judge(connection: Connection, asked: Sequence[Reference]) -> Verdict:
    """Look the objects up. Whatever was acknowledged is kept, also what was set aside, until it is deleted after the retention
    time."""
    classes: dict[str, set[str]] = {}
    for start in range(0, len(asked), _AT_ONCE):
        names = [instance for _, instance in asked[start : start + _AT_ONCE]]
        rows = connection.execute(
            select(instances.c.sop_instance_uid, instances.c.sop_class_uid).where(
                instances.c.sop_instance_uid.in_(names), instances.c.deleted_at.is_(None)
            )
        )
        for row in rows:
            classes.setdefault(row.sop_instance_uid, set()).add(row.sop_class_uid)
    kept, failed = [], []
    for sop_class, instance in asked:
        if instance not in classes:
            failed.append((sop_class, instance, _NO_SUCH_OBJECT))
        elif sop_class not in classes[instance]:
            failed.append((sop_class, instance, _OTHER_CLASS))
        else:
            kept.append((sop_class, instance))
    return Verdict(tuple(kept), tuple(failed))


def report_of(transaction_uid: str, verdict: Verdict) -> tuple[int, Dataset]:
    """Event type and data set of the report."""
    report = Dataset()
    report.TransactionUID = transaction_uid
    if verdict.kept:
        report.ReferencedSOPSequence = [_item(*reference) for reference in verdict.kept]
    if verdict.failed:
        report.FailedSOPSequence = [_item(sop_class, instance, reason) for sop_class, instance, reason in verdict.failed]
    return (_SOME_FAILED if verdict.failed else _ALL_KEPT), report


class CommitmentRequest:
    """What is done with one N-ACTION request."""

    def __init__(
        self,
        command: Command,
        transfer_syntax_uid: str,
        *,
        calling_ae_title: str,
        commits: SharedCommits,
        has_address: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._command, self._syntax, self._title = command, transfer_syntax_uid, calling_ae_title
        self._commits, self._has_address, self._clock = commits, has_address, clock
        self._data = bytearray()
        self._too_long = False

    def write(self, fragment: memoryview) -> None:
        """Collect the list."""
        self._too_long = self._too_long or len(self._data) + len(fragment) > _LONGEST_REQUEST_BYTES
        if not self._too_long:
            self._data += fragment

    def abandon(self) -> None:
        """Nothing was promised."""

    def finish(self) -> Sequence[tuple[bytes, bytes]]:
        """Acknowledge the request; report on the same association where we know of no other."""
        if self._too_long:
            return self._answer(OUT_OF_RESOURCES)
        if self._command.action_type != _REQUEST:
            return self._answer(INVALID_ARGUMENT)
        try:
            transaction_uid, asked = read_request(bytes(self._data), self._syntax)
        # Any byte string can come in, and the parser raises many kinds of errors on them; each means the same to us.
        except Exception:
            return self._answer(INVALID_ARGUMENT)
        try:
            now = self._clock()
            verdict = self._commits.run(lambda c: _enter(c, transaction_uid, self._title, asked, now, reported=not self._has_address))
        except SQLAlchemyError:
            return self._answer(PROCESSING_FAILURE)
        answers = [*self._answer(SUCCESS)]
        if not self._has_address:
            event_type, report = report_of(transaction_uid, verdict)
            instance = str(StorageCommitmentPushModelInstance)
            command = encode_event_report(self._command.sop_class_uid, instance, event_type=event_type, message_id=_REPORT_MESSAGE_ID)
            answers.append((command, _encoded(report, self._syntax)))
        return answers

    def _answer(self, status: int) -> Sequence[tuple[bytes, bytes]]:
        return [(encode_response(self._command, status), b"")]


class CommitmentReporter:
    """Sends the reports that wait, one at a step.

    Parameters
    ----------
    peers : AE title to "host:port", as in the settings.
    ae_title : ours.
    """

    def __init__(self, ledger: Ledger, peers: Mapping[str, str], ae_title: str, *, clock: Callable[[], float] = time.time) -> None:
        self._ledger, self._peers, self._ae_title, self._clock = ledger, peers, ae_title, clock

    def step(self) -> bool:
        """Send one report that is due; False if there is none."""
        now = self._clock()
        with self._ledger.write() as connection:
            due = (commitments.c.state == "pending") & (commitments.c.available_at <= now)
            row = connection.execute(select(commitments).where(due).order_by(commitments.c.available_at).limit(1)).first()
            if row is None:
                return False
            # Taken for a while, so that another process does not send it too; an end of this one changes nothing.
            wait = min(_FIRST_WAIT_SECONDS * 2.0 ** min(row.attempts, 30), _LONGEST_WAIT_SECONDS)
            taken = {"attempts": row.attempts + 1, "available_at": now + max(wait, _ANSWER_SECONDS)}
            connection.execute(update(commitments).where(commitments.c.id == row.id).values(**taken))
            verdict = judge(connection, [(sop_class, instance) for sop_class, instance in json.loads(row.objects)])
        note = self._send(row.calling_ae_title, row.transaction_uid, verdict)
        if not note:
            values = {"state": "reported", "note": f"{len(verdict.kept)} kept, {len(verdict.failed)} not"}
        elif now - row.asked_at > _GIVE_UP_SECONDS:
            values = {"state": "failed", "note": note}
        else:
            values = {"state": "pending", "note": note}
        with self._ledger.write() as connection:
            connection.execute(update(commitments).where(commitments.c.id == row.id).values(**values))
        log.info("commitment_reported", calling_ae_title=row.calling_ae_title, outcome=values["state"], note=values["note"])
        return True

    def _send(self, title: str, transaction_uid: str, verdict: Verdict) -> str:
        """Empty, or why it did not succeed."""
        if title not in self._peers:
            return "the requester is no longer in receive.commitment_peers"
        host, _, port = self._peers[title].rpartition(":")
        ae = AE(ae_title=self._ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = _ANSWER_SECONDS
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        association = associate(ae, host, int(port), contexts=[build_context(StorageCommitmentPushModel)], ae_title=title, ext_neg=[role])
        if not association.is_established:
            return "the requester does not answer"
        event_type, report = report_of(transaction_uid, verdict)
        try:
            status, _ = association.send_n_event_report(report, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        # pynetdicom raises on a context that was not accepted and on a connection that breaks while sending.
        except (RuntimeError, ValueError, OSError) as error:
            return f"the association broke ({type(error).__name__})"
        finally:
            if association.is_established:
                association.release()
        code = status.get("Status")
        return "" if code == SUCCESS else "the requester gave no answer" if code is None else f"the requester answered 0x{code:04X}"


def read_request(encoded: bytes, transfer_syntax_uid: str) -> tuple[str, list[Reference]]:
    """Transaction and objects of an N-ACTION request.

    Raises
    ------
    Exception
        Of many kinds, for bytes that are no such request.
    """
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        raise ValueError("deflated")
    dataset = read_dataset(
        BytesIO(encoded),
        is_implicit_VR=transfer_syntax_uid == ImplicitVRLittleEndian,
        is_little_endian=transfer_syntax_uid != ExplicitVRBigEndian,
    )
    return str(dataset.TransactionUID), [
        (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)) for item in dataset.ReferencedSOPSequence
    ]


def _enter(connection: Connection, transaction_uid: str, title: str, asked: Sequence[Reference], now: float, *, reported: bool) -> Verdict:
    verdict = judge(connection, asked)
    connection.execute(
        insert(commitments).values(
            transaction_uid=transaction_uid,
            calling_ae_title=title,
            asked_at=now,
            objects=json.dumps(asked),
            state="reported" if reported else "pending",
            available_at=now,
            note=f"{len(verdict.kept)} kept, {len(verdict.failed)} not" if reported else "",
        )
    )
    return verdict


def _item(sop_class: str, instance: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
    if reason is not None:
        item.FailureReason = reason
    return item


def _encoded(dataset: Dataset, transfer_syntax_uid: str) -> bytes:
    return encode(dataset, transfer_syntax_uid == ImplicitVRLittleEndian, transfer_syntax_uid != ExplicitVRBigEndian) or b""
