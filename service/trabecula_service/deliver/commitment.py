"""Storage commitment as SCU (PS3.4 annex J): a PACS that has taken objects is asked whether it keeps them.

Its report comes on the same association, if it is quick, or on one of its own to our listener; either ends in
``ledger.commitment_asks.take_report``. A PACS that says nothing is asked again, later each time.
"""

import time
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any, Protocol

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from trabecula_service.deliver.commitment_report import CommitmentReport, report_in
from trabecula_service.deliver.port import Asked, Reference, Refused, Unavailable
from trabecula_service.ledger.commitment_asks import fail_unconfirmed, note_answer, take_report, take_unconfirmed
from trabecula_service.ledger.database import Ledger
from trabecula_service.requestor import associate
from trabecula_service.settings.deliver import CStoreDestination, DeliverSettings

_REQUEST = 1
_SAME_ASSOCIATION_SECONDS = 2.0
"""So long the association is held for a report; a slower PACS opens one of its own (PS3.4 J.3.3)."""
_FEWEST_ASKS = 10
"""As with sending: no clock that jumps ends what was asked once."""

log = structlog.get_logger("trabecula.deliver")


class Committer(Protocol):
    """A destination that can be asked whether it keeps what it took."""

    def ask(self, transaction_uid: str, references: Sequence[Reference]) -> CommitmentReport | Asked | Unavailable | Refused:
        """Ask about objects; never raises for what the other side does."""


class StorageCommitter:
    """Asks a PACS by N-ACTION, and holds the association for a report for ``hold_seconds``."""

    def __init__(self, settings: CStoreDestination, *, hold_seconds: float = _SAME_ASSOCIATION_SECONDS) -> None:
        self._settings, self._hold_seconds = settings, hold_seconds

    def ask(self, transaction_uid: str, references: Sequence[Reference]) -> CommitmentReport | Asked | Unavailable | Refused:
        """One association, one request; the report too, if it comes at once."""
        reports: list[CommitmentReport] = []
        came = Event()

        def take(event: Any) -> tuple[int, None]:
            # Any data set can come in, and reading it raises many kinds of errors; each means the same to us.
            try:
                reports.append(report_in(event.event_information))
            except Exception:
                return 0x0110, None
            came.set()
            return 0x0000, None

        association = self._associate([(evt.EVT_N_EVENT_REPORT, take)])
        if association.rejected_contexts:
            return Refused("the PACS gives no storage commitment; set commitment = false for it")
        if not association.is_established:
            return Unavailable("the PACS rejects the association" if association.is_rejected else "the PACS does not answer")
        try:
            status, _ = association.send_n_action(
                _request(transaction_uid, references), _REQUEST, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
            )
            code = status.get("Status")
            if code is None:
                return Unavailable("the PACS gave no answer to the request for commitment")
            if code != 0:
                return Refused(f"the PACS refuses the request for commitment (0x{code:04X})")
            came.wait(self._hold_seconds)
        # pynetdicom raises on a connection that breaks while sending.
        except (RuntimeError, ValueError, OSError) as error:
            return Unavailable(f"the association broke ({type(error).__name__})")
        finally:
            if association.is_established:
                association.release()
        own = [report for report in reports if report.transaction_uid == transaction_uid]
        return own[0] if own else Asked("stored; the PACS is to say whether it keeps it")

    def _associate(self, handlers: list[tuple[Any, Callable[..., Any]]]) -> Association:
        ae = AE(ae_title=self._settings.calling_ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = self._settings.timeout_seconds
        contexts = [build_context(StorageCommitmentPushModel)]
        return associate(
            ae, self._settings.host, self._settings.port, contexts=contexts, ae_title=self._settings.ae_title, evt_handlers=handlers
        )


class CommitmentAsker:
    """Asks one destination about all that it took and has not promised to keep."""

    def __init__(
        self,
        name: str,
        committer: Committer,
        settings: DeliverSettings,
        ledger: Ledger,
        *,
        wait_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name, self._committer, self._settings, self._ledger = name, committer, settings, ledger
        self._wait_seconds, self._clock = wait_seconds, clock

    def step(self) -> bool:
        """Ask about what is due, many objects at once; False if there is nothing."""
        transaction_uid = str(generate_uid(prefix=None))
        with self._ledger.write() as connection:
            now = self._clock()
            longest = max(self._wait_seconds, self._settings.retry_cap_seconds)
            parcels = take_unconfirmed(
                connection, self._name, transaction_uid, now, first_wait_seconds=self._wait_seconds, longest_wait_seconds=longest
            )
            late = [p for p in parcels if now - p.created_at > self._settings.give_up_hours * 3600.0 and p.asks > _FEWEST_ASKS]
            fail_unconfirmed(connection, late, f"stored, but not confirmed in {self._settings.give_up_hours:g} hours", now)
        parcels = [parcel for parcel in parcels if parcel not in late]
        if not parcels:
            return bool(late)
        answer = self._committer.ask(transaction_uid, [(parcel.sop_class_uid, parcel.sop_instance_uid) for parcel in parcels])
        with self._ledger.write() as connection:
            now = self._clock()
            if isinstance(answer, CommitmentReport):
                take_report(connection, answer.transaction_uid, answer.kept, answer.failed, now)
            else:
                note_answer(connection, parcels, answer.note, refused=isinstance(answer, Refused))
                refused_often = [p for p in parcels if isinstance(answer, Refused) and p.rejections + 1 >= self._settings.rejected_attempts]
                fail_unconfirmed(connection, refused_often, answer.note, now)
        log.info(
            "commitment_asked",
            destination=self._name,
            count=len(parcels),
            outcome=type(answer).__name__.lower(),
            note="" if isinstance(answer, CommitmentReport) else answer.note,
        )
        return True


def _request(transaction_uid: str, references: Sequence[Reference]) -> Dataset:
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = [_item(reference) for reference in references]
    return request


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    return item
