"""The listener against senders of other makers and of bad manners."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, _config, build_context
from sqlalchemy import select

from builders.peers import need_program
from builders.service import send, wait_ticks
from builders.small_ct import small_ct, write_series
from builders.wire import WireObject, associate, message, store_command
from trabecula_service import requestor
from trabecula_service.ledger.database import Ledger, open_ledger
from trabecula_service.ledger.queries import count_instances, list_refused_callers
from trabecula_service.ledger.schema import associations, instances
from trabecula_service.receive.listener import Listener
from trabecula_service.receive.object_store import HEAD_BYTES, ObjectStore
from trabecula_service.settings.receive import ReceiveSettings

OUT_OF_RESOURCES = 0xA700


class Station:
    """A listener on a free port with its ledger and its folder."""

    def __init__(self, folder: Path, **settings: object) -> None:
        values = {"bind": "127.0.0.1", "port": 0, "allowed_callers": ("127.0.0.1",), "reserve_free_gib": 0.0, **settings}
        self.folder = folder / "objects"
        self.ledger: Ledger = open_ledger(folder / "ledger.sqlite")
        self.store = ObjectStore(self.folder)
        self.listener = Listener(ReceiveSettings.model_validate(values), self.ledger, self.store, run_id="run", data=folder)
        self.listener.start()
        self.port = self.listener.port

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def counts(self) -> dict[str, int]:
        with self.ledger.read() as connection:
            return {kind: count for kind, count in count_instances(connection).items() if count}

    def close(self) -> None:
        self.listener.stop()
        self.ledger.close()


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    opened = Station(tmp_path)
    yield opened
    opened.close()


def _dcmtk(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TCP_NODELAY": "1"}
    return subprocess.run([need_program(program), *arguments], capture_output=True, text=True, timeout=60, env=environment)


@pytest.mark.peer
def test_echoscu_gets_its_answer(station: Station) -> None:
    assert _dcmtk("echoscu", "-aec", "TRABECULA", "127.0.0.1", str(station.port)).returncode == 0


@pytest.mark.peer
def test_storescu_sends_a_series_and_each_slice_is_on_the_disk(station: Station, tmp_path: Path) -> None:
    series = write_series(small_ct(slices=12), tmp_path / "series")
    done = _dcmtk("storescu", "-aec", "TRABECULA", "+sd", "127.0.0.1", str(station.port), str(series))
    assert done.returncode == 0, done.stderr
    assert station.counts() == {"ct": 12}
    assert len(station.files()) == 12


@pytest.mark.peer
def test_storescu_sends_jpeg_ls_and_the_bytes_stay_as_they_are(station: Station, tmp_path: Path) -> None:
    source = write_series(small_ct(slices=1), tmp_path / "series") / "0000.dcm"
    packed = tmp_path / "packed.dcm"
    assert _dcmtk("dcmcjpls", "+un", str(source), str(packed)).returncode == 0
    done = _dcmtk("storescu", "-aec", "TRABECULA", "-xt", "127.0.0.1", str(station.port), str(packed))
    assert done.returncode == 0, done.stderr
    from pydicom import dcmread

    (kept,) = station.files()
    assert dcmread(kept).PixelData == dcmread(packed).PixelData
    with station.ledger.read() as connection:
        assert connection.execute(select(instances.c.transfer_syntax_uid)).scalar_one() == "1.2.840.10008.1.2.4.80"


def test_a_call_for_another_title_is_refused(station: Station) -> None:
    assert send(station.port, small_ct(slices=1), called="SOMEBODY") == []


def test_a_caller_that_is_not_allowed_is_refused_and_the_line_that_allows_it_is_told(station: Station) -> None:
    assert send(station.port, small_ct(slices=1), address="127.0.0.2") == []
    assert station.counts() == {}
    # The refusal goes out first and is written down after it.
    for _ in wait_ticks(10):
        with station.ledger.read() as connection:
            if list_refused_callers(connection):
                break
    with station.ledger.read() as connection:
        (refused,) = list_refused_callers(connection)
    assert '"SCANNER@127.0.0.2" to allowed_callers' in refused.reason


def test_a_full_disk_is_told_to_the_sender(tmp_path: Path) -> None:
    full = Station(tmp_path, reserve_free_gib=1e9)
    try:
        assert send(full.port, small_ct(slices=2)) == [OUT_OF_RESOURCES, OUT_OF_RESOURCES]
        assert (full.counts(), full.files()) == ({}, [])
    finally:
        full.close()


def test_a_folder_that_cannot_be_written_is_told_to_the_sender(station: Station) -> None:
    (image,) = small_ct(slices=1)
    (station.folder / "incoming").rmdir()
    assert send(station.port, [image]) == [OUT_OF_RESOURCES]
    assert station.counts() == {}


def test_a_duplicate_is_a_success_and_one_file(station: Station) -> None:
    images = small_ct(slices=2)
    assert send(station.port, images) == [0, 0]
    assert send(station.port, images) == [0, 0]
    assert station.counts() == {"ct": 2, "repeats": 2}
    assert len(station.files()) == 2


def test_other_bytes_under_the_same_uid_are_kept_apart(station: Station) -> None:
    (image,) = small_ct(slices=1)
    assert send(station.port, [image]) == [0]
    image.PixelData = b"\x01" * 128
    assert send(station.port, [image]) == [0]
    assert station.counts() == {"ct": 1, "conflict": 1}
    assert len(station.files()) == 2


@pytest.mark.parametrize("private_bytes", [0, 2 * HEAD_BYTES], ids=["in the beginning", "behind long private elements"])
def test_a_large_object_is_filed_wherever_its_header_stands(station: Station, private_bytes: int) -> None:
    (image,) = small_ct(slices=1)
    image.Rows = image.Columns = 512
    image.PixelData = bytes(2 * 512 * 512)
    if private_bytes:
        image.private_block(0x0009, "BUILDER", create=True).add_new(0x01, "OB", bytes(private_bytes))
    assert send(station.port, [image]) == [0]
    assert station.counts() == {"ct": 1}


def test_an_aborted_association_keeps_what_came_and_is_noted(station: Station) -> None:
    image, _ = small_ct(slices=2)
    association = requestor.associate(
        AE(), "127.0.0.1", station.port, contexts=[build_context(image.SOPClassUID, ExplicitVRLittleEndian)], ae_title="TRABECULA"
    )
    assert association.send_c_store(image).Status == 0
    association.abort()
    association.join(5)
    for _ in wait_ticks(10):
        with station.ledger.read() as connection:
            end = connection.execute(select(associations.c.end)).scalar_one()
        if end == "aborted":
            break
    assert end == "aborted"
    assert station.counts() == {"ct": 1}


@pytest.mark.parametrize("uid", ["../../../../tmp/evil", "1.2.3/../../evil", "1.2.3\\..\\evil"])
def test_a_uid_never_becomes_a_path(station: Station, tmp_path: Path, uid: str) -> None:
    (image,) = small_ct(slices=1)
    before = set(tmp_path.rglob("*"))
    image.StudyInstanceUID = image.SeriesInstanceUID = "1.2.3"
    image.add_new(0x0020000D, "LO", uid)
    send(station.port, [image])
    assert {path for path in tmp_path.rglob("*") if path not in before and station.folder not in path.parents} == set()


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", b"not DICOM at all" * 50, b"\xff" * 4096, b"\x08\x00\x05\x00UN\x00\x00\xff\xff\xff\xff" * 300],
    ids=["empty", "one byte", "text", "ones", "endless items"],
)
def test_bytes_that_cannot_be_parsed_are_kept_and_answered_for(station: Station, tmp_path: Path, body: bytes) -> None:
    path = _file_with_body(tmp_path, body)
    _config.STORE_SEND_CHUNKED_DATASET = True
    association = requestor.associate(
        AE(), "127.0.0.1", station.port, contexts=[build_context("1.2.840.10008.5.1.4.1.1.2")], ae_title="TRABECULA"
    )
    status = association.send_c_store(path).get("Status")
    association.release()
    if status == 0:
        assert station.counts() == {"unreadable": 1}
    else:
        # Without a data set there is nothing to keep, so it is not acknowledged either. (pynetdicom sends a single byte as none.)
        assert (len(body) < 2, station.counts()) == (True, {})
    assert send(station.port, small_ct(slices=1)) == [0], "the listener lives"


def _file_with_body(folder: Path, body: bytes) -> Path:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.5"
    meta.TransferSyntaxUID, meta.ImplementationClassUID = "1.2.840.10008.1.2", "1.2.3.4"
    path = folder / "odd.dcm"
    with path.open("wb") as file:
        file.write(b"\x00" * 128 + b"DICM")
        write_file_meta_info(file, meta)
        file.write(body)
    return path


def test_an_unknown_private_storage_class_is_stored_not_refused_on_the_wire(station: Station) -> None:
    (image,) = small_ct(slices=1)
    image.SOPClassUID = "1.3.12.2.1107.5.9.1"
    assert send(station.port, [image]) == [0]
    assert station.counts() == {"other": 1}


@pytest.mark.parametrize("pace_seconds", [0.1, 30.0], ids=["a byte now and then", "silence"])
def test_a_sender_that_does_not_end_its_pdu_is_ended(tmp_path: Path, pace_seconds: float) -> None:
    station = Station(tmp_path, idle_seconds=1.0)
    item = WireObject("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4", ExplicitVRLittleEndian, bytes(4000))
    try:
        with socket.create_connection(("127.0.0.1", station.port), timeout=30) as sender:
            sender.sendall(associate([item]))
            assert sender.recv(1) == b"\x02"
            sender.sendall(message(1, store_command(item, 1), item.data_set)[:1000])
            started = time.monotonic()
            sender.settimeout(pace_seconds)
            while not _has_ended(sender):
                assert time.monotonic() - started < 25
    finally:
        station.close()


def _has_ended(sender: socket.socket) -> bool:
    """Whether the other side has closed; if it is still open after the pace of the sender, a byte goes there."""
    try:
        while sender.recv(4096):
            pass
        return True
    except TimeoutError:
        pass
    except OSError:
        return True
    try:
        sender.sendall(b"\x00")
    except OSError:
        return True
    return False
