"""Storage commitment: what we say we keep is what the ledger has."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance
from sqlalchemy import select

from builders.service import send, wait_ticks
from builders.small_ct import small_ct
from contract.test_store_scp import Station
from trabecula_service.ledger.schema import commitments
from trabecula_service.receive.commitment import CommitmentReporter
from trabecula_service.requestor import associate

NO_SUCH_OBJECT = 0x0112


class Requester:
    """Asks for commitment and collects the reports, on its own association or as a server."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, Dataset]] = []
        self.handlers = [(evt.EVT_N_EVENT_REPORT, self._take)]

    def ask(self, port: int, images: list[Dataset], *, wait_for_report: bool = True) -> int:
        ae = AE(ae_title="SCANNER")
        contexts = [build_context(StorageCommitmentPushModel)]
        association = associate(ae, "127.0.0.1", port, contexts=contexts, ae_title="TRABECULA", evt_handlers=self.handlers)
        request = Dataset()
        request.TransactionUID = generate_uid()
        request.ReferencedSOPSequence = [Dataset() for _ in images]
        for item, image in zip(request.ReferencedSOPSequence, images, strict=True):
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        before = len(self.reports)
        status, _ = association.send_n_action(request, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        for _ in wait_ticks(20 if wait_for_report else 0.2):
            if len(self.reports) > before:
                break
        association.release()
        return int(status.Status)

    def _take(self, event: Any) -> tuple[int, None]:
        self.reports.append((int(event.event_type), event.event_information))
        return 0x0000, None


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    opened = Station(tmp_path)
    yield opened
    opened.close()


def test_what_was_acknowledged_is_committed_and_what_never_came_is_not(station: Station) -> None:
    images = small_ct(slices=3)
    assert send(station.port, images[:2]) == [0, 0]
    requester = Requester()
    assert requester.ask(station.port, images[:2]) == 0
    assert requester.ask(station.port, images) == 0
    (all_kept, first), (some_failed, second) = requester.reports
    assert (all_kept, some_failed) == (1, 2)
    assert [item.ReferencedSOPInstanceUID for item in first.ReferencedSOPSequence] == [image.SOPInstanceUID for image in images[:2]]
    (missing,) = second.FailedSOPSequence
    assert (missing.ReferencedSOPInstanceUID, missing.FailureReason) == (images[2].SOPInstanceUID, NO_SUCH_OBJECT)


def test_an_object_of_another_class_than_asked_is_not_committed(station: Station) -> None:
    (image,) = small_ct(slices=1)
    assert send(station.port, [image]) == [0]
    image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    requester = Requester()
    assert requester.ask(station.port, [image]) == 0
    ((event_type, report),) = requester.reports
    assert (event_type, report.FailedSOPSequence[0].FailureReason) == (2, 0x0119)


def test_a_named_requester_that_is_down_gets_its_report_when_it_is_back(tmp_path: Path) -> None:
    requester = Requester()
    with _free_port() as port:
        station = Station(tmp_path, commitment_peers={"SCANNER": f"127.0.0.1:{port}"})
    now = [time.time() + 60.0]
    reporter = CommitmentReporter(station.ledger, {"SCANNER": f"127.0.0.1:{port}"}, "TRABECULA", clock=lambda: now[0])
    try:
        images = small_ct(slices=2)
        assert send(station.port, images) == [0, 0]
        assert requester.ask(station.port, images, wait_for_report=False) == 0
        assert reporter.step()
        assert requester.reports == []
        assert not reporter.step(), "not again at once"
        server = _serve(requester, port)
        try:
            now[0] += 3600.0
            assert reporter.step()
        finally:
            server.shutdown()
        ((event_type, report),) = requester.reports
        assert (event_type, len(report.ReferencedSOPSequence)) == (1, 2)
        with station.ledger.read() as connection:
            assert connection.execute(select(commitments.c.state, commitments.c.attempts)).one() == ("reported", 2)
    finally:
        station.close()


class _free_port:  # noqa: N801 - reads as a function
    def __enter__(self) -> int:
        import socket

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        return


def _serve(requester: Requester, port: int) -> Any:
    ae = AE(ae_title="SCANNER")
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    return ae.start_server(("127.0.0.1", port), block=False, evt_handlers=requester.handlers)


def test_nonsense_in_a_request_is_an_error_of_the_sender(station: Station) -> None:
    association = associate(
        AE(ae_title="SCANNER"), "127.0.0.1", station.port, contexts=[build_context(StorageCommitmentPushModel)], ae_title="TRABECULA"
    )
    request = Dataset()
    request.PatientID = "nothing that was asked for"
    status, _ = association.send_n_action(request, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    assert status.Status == 0x0115
    association.release()


def test_the_role_of_the_requester_may_be_negotiated(station: Station) -> None:
    role, contexts = build_role(StorageCommitmentPushModel, scu_role=True), [build_context(StorageCommitmentPushModel)]
    scanner = AE(ae_title="SCANNER")
    association = associate(scanner, "127.0.0.1", station.port, contexts=contexts, ae_title="TRABECULA", ext_neg=[role])
    assert association.is_established
    association.release()
