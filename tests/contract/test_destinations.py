"""What destinations answer to what the other side does."""

import socket
from pathlib import Path

import pytest
from pynetdicom import AE

from builders.service import Collector
from builders.small_ct import small_ct
from trabecula_service.deliver.deliverer import retry_wait_seconds
from trabecula_service.deliver.destinations.c_store import CStore, outcome_of
from trabecula_service.deliver.destinations.folder import Folder
from trabecula_service.deliver.port import Accepted, Item, Refused, Unavailable
from trabecula_service.settings.deliver import CStoreDestination, DeliverSettings, FolderDestination


@pytest.fixture
def item(tmp_path: Path) -> Item:
    path = tmp_path / "capture.sc.dcm"
    small_ct(slices=1)[0].save_as(path, enforce_file_format=True)
    return Item(path=path, document="capture.sc.dcm", study_id="0123456789abcdef", version_number=1)


def _c_store(port: int) -> CStore:
    return CStore(CStoreDestination(kind="c-store", host="127.0.0.1", port=port, ae_title="PACS", timeout_seconds=3))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0000, Accepted),
        (0xB000, Accepted),
        (0xB007, Accepted),
        (0x0111, Accepted),
        (0xA700, Unavailable),
        (0xA7FF, Unavailable),
        (None, Unavailable),
        (0xA900, Refused),
        (0xC000, Refused),
        (0x0110, Refused),
        (0x0122, Refused),
        (0xFE00, Refused),
    ],
)
def test_only_a_success_of_the_pacs_counts_as_delivered(status: int | None, outcome: type) -> None:
    assert type(outcome_of(status)) is outcome


def test_the_pacs_gets_the_very_bytes(item: Item) -> None:
    pacs = Collector().start()
    try:
        assert _c_store(pacs.port).deliver(item) == Accepted("stored (0x0000)")
    finally:
        pacs.stop()
    from pydicom import dcmread

    sent = dcmread(item.path)
    assert pacs.received[0].to_json() == sent.to_json()


def test_a_pacs_that_answers_with_an_error_has_not_stored(item: Item) -> None:
    pacs = Collector(answer=lambda _dataset: 0xA900).start()
    try:
        assert isinstance(_c_store(pacs.port).deliver(item), Refused)
    finally:
        pacs.stop()


def test_a_pacs_that_does_not_take_the_kind_of_object_is_named(item: Item) -> None:
    other = AE(ae_title="PACS")
    other.add_supported_context("1.2.840.10008.1.1")
    server = other.start_server(("127.0.0.1", 0), block=False)
    try:
        outcome = _c_store(server.socket.getsockname()[1]).deliver(item)
    finally:
        server.shutdown()
    assert outcome == Refused("the PACS does not take objects of this kind (CT Image Storage)")


def test_a_pacs_that_is_down_is_unavailable(item: Item) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert isinstance(_c_store(port).deliver(item), Unavailable)


def test_a_folder_gets_the_whole_file_under_our_own_names(item: Item, tmp_path: Path) -> None:
    target = tmp_path / "share"
    target.mkdir()
    folder = Folder(FolderDestination(kind="folder", path=target))
    assert folder.deliver(item) == Accepted("written")
    assert folder.deliver(item) == Accepted("written"), "twice does no harm"
    written = [path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()]
    assert written == ["0123456789abcdef-v1/capture.sc.dcm"]
    assert (target / written[0]).read_bytes() == item.path.read_bytes()


def test_a_share_that_is_not_mounted_is_unavailable(item: Item, tmp_path: Path) -> None:
    assert isinstance(Folder(FolderDestination(kind="folder", path=tmp_path / "absent")).deliver(item), Unavailable)


def test_the_wait_doubles_up_to_its_cap_however_often_it_was_tried() -> None:
    settings = DeliverSettings(retry_seconds=5.0, retry_cap_seconds=300.0)
    assert [retry_wait_seconds(attempts, settings) for attempts in (1, 2, 3, 7, 5000)] == [5.0, 10.0, 20.0, 300.0, 300.0]
