"""A document counts as delivered only when the PACS has promised to keep it, where the site wants that."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import insert, select, update

from builders.committing_pacs import CommittingPacs, Reports, in_silence, on_the_same_association, send_report, to_the_listener
from builders.ledger import enter, states_of
from builders.service import Collector, wait_ticks
from builders.small_ct import small_ct
from contract.test_store_scp import Station
from trabecula_service.deliver.commitment import CommitmentAsker, StorageCommitter
from trabecula_service.deliver.deliverer import Deliverer
from trabecula_service.deliver.destinations.c_store import CStore
from trabecula_service.ledger.outbox import post, recover_parcels
from trabecula_service.ledger.schema import deliveries, documents, versions
from trabecula_service.ledger.states import State
from trabecula_service.settings.deliver import CStoreDestination, DeliverSettings

SETTINGS = DeliverSettings(retry_seconds=1.0, retry_cap_seconds=300.0, rejected_attempts=3)
WAIT = 60.0


class Site:
    """A listener, one study with two documents on their way to one PACS, and a clock that the test turns."""

    def __init__(self, folder: Path) -> None:
        self.station, self.folder, self.now = Station(folder), folder, 1_000_000.0
        (image,) = small_ct(slices=1)
        enter(self.ledger, image, 0.0)
        with self.ledger.write() as connection:
            version_id = connection.execute(select(versions.c.id)).scalar_one()
            connection.execute(update(versions).values(state=State.DELIVERING))
            for name in ("capture.sc.dcm", "report.sr.dcm"):
                (document,) = small_ct(slices=1)
                document.save_as(folder / name, enforce_file_format=True)
                content = (folder / name).read_bytes()
                row = {"version_id": version_id, "name": name, "path": name, "sha256": _sha256(content), "size_bytes": len(content)}
                connection.execute(insert(documents).values(**row))
            post(connection, version_id, {"pacs": ("capture.sc.dcm", "report.sr.dcm")}, self.now)

    @property
    def ledger(self):
        return self.station.ledger

    def connect(self, port: int, *, hold_seconds: float = 0.05) -> None:
        values = {"host": "127.0.0.1", "port": port, "ae_title": "PACS", "timeout_seconds": 5.0, "commitment": True}
        settings = CStoreDestination(kind="c-store", **values)
        deliverer = Deliverer("pacs", CStore(settings), SETTINGS, self.ledger, data=self.folder, clock=lambda: self.now)
        committer = StorageCommitter(settings, hold_seconds=hold_seconds)
        asker = CommitmentAsker("pacs", committer, SETTINGS, self.ledger, wait_seconds=WAIT, clock=lambda: self.now)
        self._steps = (deliverer.step, asker.step)

    def work(self) -> None:
        """What the two loops do until nothing is due."""
        for step in self._steps:
            while step():
                pass

    def parcels(self) -> set[tuple[str, str]]:
        with self.ledger.read() as connection:
            return {(row.state, row.note) for row in connection.execute(select(deliveries))}

    def states(self) -> set[str]:
        return {state for state, _ in self.parcels()}

    def state(self) -> str:
        ((_, state),) = states_of(self.ledger)
        return state


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = Site(tmp_path)
    yield opened
    opened.station.close()


def _pacs(site: Site, report: Reports, **options: int) -> CommittingPacs:
    pacs = CommittingPacs(report, **options)
    # A report that is to come on the same association is waited for; of others there is none.
    site.connect(pacs.port, hold_seconds=30.0 if report is on_the_same_association else 0.05)
    return pacs


def _wait_for(site: Site, state: str) -> None:
    for _ in wait_ticks(30):
        if site.states() == {state}:
            return
    raise AssertionError(site.parcels())


def test_a_promise_on_the_same_association_makes_it_delivered(site: Site) -> None:
    pacs = _pacs(site, on_the_same_association)
    site.work()
    pacs.close()
    assert site.parcels() == {("delivered", "stored, and the PACS has promised to keep it")}
    assert (site.state(), len(pacs.asked), pacs.statuses) == (State.DONE, 1, [0]), "asked once about both"


def test_a_promise_that_comes_later_to_our_listener_makes_it_delivered(site: Site) -> None:
    pacs = _pacs(site, to_the_listener(site.station.port))
    site.work()
    pacs.wait_for_reports()
    _wait_for(site, "delivered")
    pacs.close()
    assert (site.state(), pacs.statuses) == (State.DONE, [0])


def test_stored_is_not_delivered_and_silence_is_asked_again_after_a_growing_wait(site: Site) -> None:
    pacs = _pacs(site, in_silence)
    site.work()
    assert site.states() == {"stored"}
    assert site.state() == State.DELIVERING
    asked = []
    for _ in range(4):
        site.now += WAIT + 1.0
        site.work()
        asked.append(len(pacs.asked))
    assert asked == [2, 2, 3, 3], "after 60 s, then after 120 s more"
    assert len(pacs.received) == 2, "nothing was sent again"
    pacs.close()


def test_a_late_report_on_an_earlier_request_counts(site: Site) -> None:
    reports: list[tuple[int, Dataset]] = []
    pacs = _pacs(site, lambda pacs, _event, request: reports.append(pacs.answer_to(request)))
    site.work()
    site.now += WAIT + 1.0
    site.work()
    assert len(reports) == 2
    assert send_report(site.station.port, *reports[0]) == 0
    assert (site.states(), site.state()) == ({"delivered"}, State.DONE)
    assert send_report(site.station.port, *reports[1]) == 0, "a second one changes nothing"
    pacs.close()


def test_what_the_pacs_does_not_keep_is_sent_again(site: Site) -> None:
    pacs = _pacs(site, on_the_same_association, loses=1)
    site.work()
    assert site.states() == {"pending", "delivered"}
    assert "does not keep it (0x0112)" in next(note for state, note in site.parcels() if state == "pending")
    site.now += 10.0
    site.work()
    pacs.close()
    assert (site.states(), site.state()) == ({"delivered"}, State.DONE)
    assert sorted(pacs.received.count(uid) for uid in set(pacs.received)) == [1, 2]


def test_what_is_lost_again_and_again_waits_for_a_person(site: Site) -> None:
    pacs = _pacs(site, on_the_same_association, loses=1000)
    for _ in range(10):
        site.work()
        site.now += 400.0
    pacs.close()
    assert (site.states(), site.state()) == ({"failed"}, State.FAILED)
    assert len(pacs.received) == 2 * (SETTINGS.rejected_attempts + 1)


def test_a_pacs_that_refuses_to_promise_is_named(site: Site) -> None:
    pacs = _pacs(site, in_silence, action_status=0x0122)
    for _ in range(10):
        site.work()
        site.now += 400.0
    pacs.close()
    assert site.parcels() == {("failed", "the PACS refuses the request for commitment (0x0122)")}
    assert len(pacs.asked) == SETTINGS.rejected_attempts


def test_a_pacs_without_storage_commitment_is_named_with_the_key_to_change(site: Site) -> None:
    pacs = Collector().start()
    site.connect(pacs.port)
    for _ in range(10):
        site.work()
        site.now += 400.0
    pacs.stop()
    assert site.parcels() == {("failed", "the PACS gives no storage commitment; set commitment = false for it")}


def test_a_report_that_nobody_asked_for_changes_nothing(site: Site) -> None:
    pacs = _pacs(site, in_silence)
    site.work()
    report = Dataset()
    report.TransactionUID = generate_uid()
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", pacs.received[0]
    report.ReferencedSOPSequence = [item]
    assert send_report(site.station.port, 1, report) == 0
    assert site.states() == {"stored"}
    nonsense = Dataset()
    nonsense.PatientID = "nothing that was asked for"
    assert send_report(site.station.port, 1, nonsense) == 0x0115
    pacs.close()


def test_where_commitment_is_no_longer_wanted_stored_counts_as_delivered(site: Site) -> None:
    pacs = _pacs(site, in_silence)
    site.work()
    pacs.close()
    with site.ledger.write() as connection:
        recover_parcels(connection, ["pacs"], site.now, confirming=["pacs"])
    assert site.states() == {"stored"}
    with site.ledger.write() as connection:
        recover_parcels(connection, ["pacs"], site.now)
    assert (site.states(), site.state()) == ({"delivered"}, State.DONE)
