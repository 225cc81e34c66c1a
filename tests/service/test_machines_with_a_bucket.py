"""The roles on machines that share a database and a bucket, and no folder: a study goes through all of them."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from builders.fake_analysis import DOCUMENTS
from builders.roles import Cluster, cluster
from builders.s3_server import bucket_lines, s3_server
from builders.service import Collector, send, wait_ticks
from builders.small_ct import small_ct
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.schema import deletions
from trabecula_service.ops.bucket import open_bucket
from trabecula_service.settings.storage import ObjectsSettings

ROLES = ("api", "listen", "work", "deliver")


@pytest.fixture
def pacs() -> Iterator[Collector]:
    collector = Collector().start()
    yield collector
    collector.stop()


@pytest.fixture(params=["folder", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield f'url = "file://{tmp_path}/bucket"\n'
        return
    with s3_server(tmp_path) as url:
        yield bucket_lines(url, tmp_path)


def start_each_on_its_own(machines: Cluster, bucket: str) -> None:
    shared = machines.config.read_text()
    for role in ROLES:
        own = machines.config.with_name(f"{role}.toml")
        folder = machines.config.parent / f"data-{role}"
        text = shared.replace(f'data = "{machines.config.parent / "data"}"', f'data = "{folder}"')
        assert str(folder) in text
        own.write_text(f"{text}\n[objects]\n{bucket}[retention]\ndays = 0.00008\n")
        machines.config = own
        machines.start(role)


def test_a_study_goes_from_machine_to_machine_and_leaves_when_it_is_old(
    tmp_path: Path, postgres_address: str, pacs: Collector, bucket: str
) -> None:
    with cluster(tmp_path, postgres_address, (), pacs_port=pacs.port) as machines:
        start_each_on_its_own(machines, bucket)
        assert send(machines.processes[1].dicom_port, small_ct(slices=5)) == [0] * 5
        (row,) = machines.wait_for("done", count=1)
        assert len(pacs.uids()) == len(set(pacs.uids())) == len(DOCUMENTS)
        assert len(_objects(tmp_path / "data-work")) == 5
        assert _objects(tmp_path / "data-api") == _objects(tmp_path / "data-deliver") == []
        # Asked of the ledger and the bucket themselves: who opens the study keeps it for a day.
        shared = open_bucket(ObjectsSettings.model_validate(tomllib.loads(bucket)))
        ledger = Ledger(postgres_address)
        names = [f"objects/{path.parent.name}/{path.name}" for path in _objects(tmp_path / "data-work")]
        assert shared is not None
        for _ in wait_ticks(60):
            if _is_deleted(ledger):
                break
        assert [shared.size_of(name) for name in names] == [None] * 5
        ledger.close()
        document = machines.get(f"/api/v1/studies/{row['id']}/versions/1/documents/report.sr.dcm")
        assert document.status_code == 200
        assert all(process.stop() == 0 for process in machines.processes)


def _objects(data: Path) -> list[Path]:
    return list(data.glob("objects/*/*.dcm"))


def _is_deleted(ledger: Ledger) -> bool:
    with ledger.read() as connection:
        return connection.execute(select(deletions.c.finished_at)).scalar() is not None
