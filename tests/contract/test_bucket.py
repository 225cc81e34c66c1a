"""Files of several machines in one bucket: over a folder everywhere, over S3 where there is a server."""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import encode
from sqlalchemy import select, update

from builders.ledger import enter
from builders.s3_server import bucket_lines, s3_server
from builders.small_ct import small_ct
from trabecula_morphometry.errors import SettingsError
from trabecula_service.ledger.database import Ledger, open_ledger
from trabecula_service.ledger.schema import deletions, instances, studies
from trabecula_service.ops.bucket import Bucket, open_bucket
from trabecula_service.ops.data_files import CacheKeeper, DataFiles
from trabecula_service.receive.file_meta import encode_file_meta
from trabecula_service.receive.object_store import ObjectStore, StoredFile
from trabecula_service.settings.model import Settings
from trabecula_service.settings.read import read_settings
from trabecula_service.settings.storage import ObjectsSettings

NAME = "objects/ab/abcd.dcm"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("s3")
    with s3_server(folder) as url:
        yield bucket_lines(url, folder)


@pytest.fixture(params=["folder", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    lines = f'url = "file://{tmp_path}/bucket"\n' if request.param == "folder" else request.getfixturevalue("server")
    opened = open_bucket(ObjectsSettings.model_validate(tomllib.loads(lines)))
    assert opened is not None
    return opened


def test_a_file_comes_back_as_it_went(bucket: Bucket, tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(os.urandom(7_000_000))
    bucket.put(NAME, original)
    bucket.put(NAME, original)
    bucket.fetch(NAME, tmp_path / "far" / "copy")
    assert (tmp_path / "far" / "copy").read_bytes() == original.read_bytes()
    assert bucket.size_of(NAME) == 7_000_000


def test_what_the_bucket_does_not_have_leaves_nothing_here(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        bucket.fetch("objects/none", tmp_path / "here" / "none")
    assert list((tmp_path / "here").iterdir()) == []
    assert bucket.size_of("objects/none") is None


def test_deleted_is_deleted_also_where_some_were_not_there(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    names = [f"objects/{number}" for number in range(5)]
    for name in names[::2]:
        bucket.put(name, tmp_path / "file")
    bucket.delete(names)
    bucket.delete(names)
    assert [bucket.size_of(name) for name in names] == [None] * 5


def _put(store: ObjectStore, image: Dataset) -> StoredFile:
    syntax = str(ExplicitVRLittleEndian)
    return store.put(encode_file_meta(image.SOPClassUID, image.SOPInstanceUID, syntax), encode(image, False, True) or b"", syntax)


def test_an_object_that_one_machine_received_is_there_for_another(bucket: Bucket, tmp_path: Path) -> None:
    door, worker = (ObjectStore(tmp_path / name / "objects", bucket) for name in ("door", "worker"))
    (image,) = small_ct(slices=1)
    stored = _put(door, image)
    assert worker.is_whole(stored.sha256, stored.size_bytes)
    assert not worker.path_of(stored.sha256).exists(), "only when it is needed"
    (copy,) = worker.local_all([stored.sha256])
    assert copy.read_bytes() == stored.path.read_bytes()
    worker.delete([stored.sha256])
    assert not door.is_there(stored.sha256), "gone for all"


def test_nothing_is_safe_before_the_bucket_has_it(tmp_path: Path) -> None:
    lines = {"url": "s3://bone", "endpoint": "http://127.0.0.1:9", "timeout_seconds": 2.0}
    (tmp_path / "credentials").write_text('access_key_id = "a"\nsecret_access_key = "b"\n')
    closed = open_bucket(ObjectsSettings.model_validate({**lines, "credentials_file": tmp_path / "credentials"}))
    store = ObjectStore(tmp_path / "objects", closed)
    with pytest.raises(OSError, match="the bucket gave no answer"):
        _put(store, small_ct(slices=1)[0])
    with pytest.raises(OSError, match="the bucket gave no answer"):
        store.local("ab" * 32)


def test_documents_are_published_and_found_by_others(bucket: Bucket, tmp_path: Path) -> None:
    worker, page = DataFiles(tmp_path / "worker", bucket), DataFiles(tmp_path / "page", bucket)
    path = tmp_path / "worker" / "results" / "1" / "report.pdf"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"report")
    worker.publish(path)
    assert page.local("results/1/report.pdf").read_bytes() == b"report"
    worker.delete(["results/1/report.pdf"])
    with pytest.raises(FileNotFoundError):
        DataFiles(tmp_path / "other", bucket).local("results/1/report.pdf")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def test_copies_are_kept_few_the_oldest_go_first(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "objects" / "ab"
    folder.mkdir(parents=True)
    for number in range(4):
        (folder / f"{number}.dcm").write_bytes(b"x" * 100)
        os.utime(folder / f"{number}.dcm", (1000.0 + number, 1000.0 + number))
    keeper = CacheKeeper(ledger, tmp_path / "data", limit_bytes=250, young_seconds=10.0, clock=lambda: 1013.5)
    keeper.step()
    assert sorted(path.name for path in folder.iterdir()) == ["2.dcm", "3.dcm"]
    old = CacheKeeper(ledger, tmp_path / "data", limit_bytes=0, young_seconds=10.0, clock=lambda: 1012.5)
    old.step()
    assert sorted(path.name for path in folder.iterdir()) == ["3.dcm"], "what was just used stays"


def test_what_was_deleted_after_retention_elsewhere_is_no_copy_here(ledger: Ledger, tmp_path: Path) -> None:
    enter(ledger, small_ct(slices=1)[0], 0.0)
    with ledger.write() as connection:
        sha256 = connection.execute(select(instances.c.sha256)).scalar_one()
        study_id = connection.execute(select(studies.c.id)).scalar_one()
    copy = tmp_path / "data" / "objects" / sha256[:2] / f"{sha256}.dcm"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"x")
    now = [5000.0]
    keeper = CacheKeeper(ledger, tmp_path / "data", limit_bytes=1e9, clock=lambda: now[0])
    keeper.step()
    assert copy.exists()
    with ledger.write() as connection:
        connection.execute(update(instances).values(deleted_at=1.0))
        connection.execute(deletions.insert().values(study_id=study_id, decided_at=5001.0, finished_at=5002.0, objects=1, size_bytes=1))
    now[0] += 61.0
    keeper.step()
    assert not copy.exists()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('[objects]\nurl = "s3://bone"\n', "needs ledger.postgresql"),
        ('[objects]\nurl = "https://bone"\n', "s3://bucket"),
        ('[objects]\nurl = "s3://key:secret@bone"\n', "credentials_file"),
    ],
)
def test_a_bucket_is_asked_for_in_words(lines: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(lines)
    with pytest.raises(SettingsError, match=said):
        read_settings(tmp_path / "settings.toml")


def test_credentials_that_are_not_complete_are_named_without_them(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text('access_key_id = "AKIA"\n')
    with pytest.raises(SettingsError, match="not complete") as refusal:
        open_bucket(ObjectsSettings(url="s3://bone", credentials_file=tmp_path / "credentials"))
    assert "AKIA" not in str(refusal.value)
    assert open_bucket(Settings().objects) is None
