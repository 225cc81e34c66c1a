"""A PACS on loopback that takes objects and promises to keep them, or not, as a test wants it."""

from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_context, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from trabecula_service.requestor import associate

Reports = Callable[["CommittingPacs", Any, Dataset], None]
"""How a PACS reports: gets itself, the event of the request and the request."""


class CommittingPacs:
    """Keeps the SOP instances in ``kept``; what is in ``loses`` it takes and does not keep, so many times."""

    def __init__(self, report: Reports, *, action_status: int = 0x0000, loses: int = 0) -> None:
        self.received, self.asked = list[str](), list[list[str]]()
        self.kept, self.loses, self.statuses = set[str](), loses, list[int]()
        self._report, self._action_status = report, action_status
        self._threads: list[Thread] = []
        self._ae = AE(ae_title="PACS")
        for context in AllStoragePresentationContexts:
            self._ae.add_supported_context(context.abstract_syntax)
        self._ae.add_supported_context(StorageCommitmentPushModel)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._action)]
        self._server = self._ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port: int = self._server.socket.getsockname()[1]

    def close(self) -> None:
        """No longer listen; reports under way are waited for."""
        self.wait_for_reports()
        self._ae.shutdown()

    def wait_for_reports(self) -> None:
        """Until all reports that were begun have been sent."""
        for thread in self._threads:
            thread.join(30)

    def answer_to(self, request: Dataset) -> tuple[int, Dataset]:
        """Event type and report about a request."""
        report = Dataset()
        report.TransactionUID = request.TransactionUID
        kept = [item for item in request.ReferencedSOPSequence if str(item.ReferencedSOPInstanceUID) in self.kept]
        lost = [item for item in request.ReferencedSOPSequence if str(item.ReferencedSOPInstanceUID) not in self.kept]
        if kept:
            report.ReferencedSOPSequence = kept
        if lost:
            for item in lost:
                item.FailureReason = 0x0112
            report.FailedSOPSequence = lost
        return (2 if lost else 1), report

    def begin(self, send: Callable[[], None]) -> None:
        """Send a report from a thread of its own."""
        thread = Thread(target=send)
        self._threads.append(thread)
        thread.start()

    def _store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.received.append(uid)
        if self.loses:
            self.loses -= 1
        else:
            self.kept.add(uid)
        return 0x0000

    def _action(self, event: Any) -> tuple[int, None]:
        request = event.action_information
        self.asked.append([str(item.ReferencedSOPInstanceUID) for item in request.ReferencedSOPSequence])
        if self._action_status == 0x0000:
            self._report(self, event, request)
        return self._action_status, None


def on_the_same_association(pacs: CommittingPacs, event: Any, request: Dataset) -> None:
    """Reports at once, where it was asked."""
    event_type, report = pacs.answer_to(request)

    def send() -> None:
        status, _ = event.assoc.send_n_event_report(report, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        pacs.statuses.append(int(status.Status))

    # Behind the answer to the request, which this thread still has to give.
    pacs.begin(send)


def to_the_listener(port: int) -> Reports:
    """Reports on an association of its own to our listener."""

    def report_to_it(pacs: CommittingPacs, _event: Any, request: Dataset) -> None:
        event_type, report = pacs.answer_to(request)
        pacs.begin(lambda: pacs.statuses.append(send_report(port, event_type, report)))

    return report_to_it


def in_silence(_pacs: CommittingPacs, _event: Any, _request: Dataset) -> None:
    """Says nothing."""


def send_report(port: int, event_type: int, report: Dataset) -> int:
    """The status of our listener."""
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    contexts: Sequence[Any] = [build_context(StorageCommitmentPushModel)]
    association = associate(AE(ae_title="PACS"), "127.0.0.1", port, contexts=list(contexts), ae_title="TRABECULA", ext_neg=[role])
    assert association.is_established
    status, _ = association.send_n_event_report(report, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    association.release()
    return int(status.Status)
