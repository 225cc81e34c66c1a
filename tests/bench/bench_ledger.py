"""``./run bench ledger``: how long a page takes with a million rows in the ledger, on SQLite and on PostgreSQL.

Aim: under 100 ms for every page of every list.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import Connection, func, insert, select, text

from builders.postgres import running_postgres
from trabecula_service.api.app import build_app
from trabecula_service.api.context import WebContext
from trabecula_service.bootstrap import build_queue
from trabecula_service.ledger.database import Ledger, open_ledger
from trabecula_service.ledger.schema import deliveries, documents, events, instances, jobs, metadata, studies, versions
from trabecula_service.ops.loops import Heartbeats
from trabecula_service.settings.model import Settings
from trabecula_service.settings.storage import LedgerSettings

STATES = ("done",) * 85 + ("skipped",) * 10 + ("failed",) * 3 + ("queued", "receiving")
CHUNK = 500
"""PostgreSQL takes ever longer to count in one transaction: each change of a count leaves a dead row until its end."""
REPEATS = 7
PAGES = (
    "/api/v1/studies?limit=50",
    "/api/v1/studies?limit=500",
    "/api/v1/studies?limit=50&state=failed",
    "/api/v1/studies?limit=50&state=done&offset={middle}",
    "/api/v1/studies?limit=50&offset={last}",
    "/api/v1/studies?limit=500&after={cursor}",
    "/api/v1/studies?limit=500&verdict=none&attention=3",
    "/api/v1/studies?limit=500&verdict=none&attention=3&state=failed",
    "/api/v1/studies?limit=50&attention=2&until=2023-11-15T00:00:00Z",
    "/api/v1/studies?limit=50&verdict=rejected&since=2023-11-15T00:00:00Z",
    "/api/v1/studies/{study}",
    "/",
    "/?page=100",
    "/?show=all",
    "/?show=all&page=2000",
    "/?show=all&attention=3&state=done",
    "/?show=signed",
    "/?show=trouble",
    "POST /search patient=Patient^77",
    "POST /search patient=nobody",
    "/administration",
    "/healthz",
    "/metrics",
)


def fill(ledger: Ledger, count: int) -> None:
    """Enter ``count`` studies with a version, an image, a job and an event each; those that are done with a document at two places."""
    for start in range(0, count, CHUNK):
        with ledger.write() as connection:
            _fill_chunk(connection, range(start, min(start + CHUNK, count)))


def _fill_chunk(connection: Connection, numbers: range) -> None:
    connection.execute(insert(studies), [_study(number) for number in numbers])
    connection.execute(insert(versions), [_version(number) for number in numbers])
    connection.execute(insert(instances), [_instance(number) for number in numbers])
    connection.execute(insert(jobs), [_job(number) for number in numbers])
    connection.execute(insert(events), [_event(number) for number in numbers])
    done = [number for number in numbers if _state(number) == "done"]
    connection.execute(insert(documents), [_document(number) for number in done])
    connection.execute(insert(deliveries), [_delivery(number, destination) for number in done for destination in ("pacs", "ris")])


def _state(number: int) -> str:
    return STATES[number % len(STATES)]


def _id(number: int) -> str:
    return f"{number:016x}"


def _study(number: int) -> dict[str, Any]:
    return {
        "id": _id(number),
        "study_instance_uid": f"1.2.{number}",
        "patient_key": f"{number // 3:064x}",
        "patient_name": f"Patient^{number}",
        "patient_id": str(number // 3),
        "accession_number": str(number),
        "study_date": "20260101",
        "study_description": "CT",
        "first_received_at": 1.7e9 + number,
        "latest_version": 1,
        "attention": number * 7919 % 4 if _state(number) == "done" else 0,
        # Readers are a few hundred studies behind; they reject few.
        "verdict": ("accepted", "amended", "rejected", *("accepted",) * 47)[number * 104729 % 50] if number % 400 else "",
    }


def _version(number: int) -> dict[str, Any]:
    at = 1.7e9 + number
    values = {"reason": "r", "state_since": at, "first_object_at": at, "last_activity_at": at, "headline": "no fracture"}
    return {"id": number + 1, "study_id": _id(number), "number": 1, "state": _state(number), **values}


def _instance(number: int) -> dict[str, Any]:
    uids = {"sop_class_uid": "1.2", "transfer_syntax_uid": "1.2.1", "series_instance_uid": "1.3"}
    kind = {"kind": "ct", "reason": "CT image", "sha256": f"{number:064x}", "size_bytes": 500_000, "received_at": 1.7e9 + number}
    return {"sop_instance_uid": f"1.2.{number}.1", "study_id": _id(number), "first_version": 1, **uids, **kind}


def _job(number: int) -> dict[str, Any]:
    return {"version_id": number + 1, "state": "ready" if _state(number) == "queued" else "done", "available_at": 1.7e9 + number}


def _event(number: int) -> dict[str, Any]:
    return {"at": 1.7e9 + number, "study_id": _id(number), "version_number": 1, "actor": "worker", "to_state": "done", "reason": "r"}


def _document(number: int) -> dict[str, Any]:
    content = {"path": f"results/{number}", "sha256": "0" * 64, "size_bytes": 1000}
    return {"id": number + 1, "version_id": number + 1, "name": "result.json", **content}


def _delivery(number: int, destination: str) -> dict[str, Any]:
    at = 1.7e9 + number
    times = {"created_at": at, "available_at": at, "delivered_at": at}
    return {"document_id": number + 1, "version_id": number + 1, "destination": destination, "state": "delivered", **times}


def measure(ledger: Ledger, folder: Path, count: int) -> Iterator[tuple[str, float, float]]:
    """Path, median and longest time in milliseconds of each page."""
    address = ledger.where if isinstance(ledger.where, str) else None
    settings = Settings(data=folder, ledger=LedgerSettings(postgresql=address))
    context = WebContext(
        ledger=ledger, queue=build_queue(ledger, settings), settings=settings, heartbeats=Heartbeats(), data=folder, clock=time.time
    )
    client = TestClient(build_app(context), base_url="http://localhost", client=("127.0.0.1", 40000))
    for form in PAGES:
        middle = count // 2
        path = form.format(middle=middle, last=count - 100, study=_id(middle), cursor=f"{1.7e9 + middle!r}_{_id(middle)}")
        _milliseconds(client, path)
        times = [_milliseconds(client, path) for _ in range(REPEATS)]
        yield path, statistics.median(times), max(times)


def _milliseconds(client: TestClient, path: str) -> float:
    started = time.perf_counter()
    if path.startswith("POST "):
        _, address, form = path.split(" ", 2)
        answer = client.post(address, data=dict([form.split("=")]), headers={"Accept": "text/html", "Sec-Fetch-Site": "same-origin"})
    else:
        answer = client.get(path, headers={"Accept": "text/html"})
    if answer.status_code not in (200, 503):
        raise RuntimeError(f"{path}: {answer.status_code}")
    return (time.perf_counter() - started) * 1000.0


def report(name: str, ledger: Ledger, folder: Path, count: int) -> None:
    """Fill a ledger and print its table."""
    started = time.perf_counter()
    fill(ledger, count)
    with ledger.write() as connection:
        # Both databases do this by themselves after a while.
        connection.execute(text("ANALYZE"))
        rows = sum(connection.execute(select(func.count()).select_from(table)).scalar_one() for table in metadata.sorted_tables)
    print(f"\n{name}: {rows:,} rows of {count:,} studies entered in {time.perf_counter() - started:.0f} s", flush=True)  # noqa: T201
    print(f"{'page':<60} {'median ms':>10} {'longest ms':>11}")  # noqa: T201
    for path, median, longest in measure(ledger, folder, count):
        print(f"{path:<60} {median:>10.1f} {longest:>11.1f}", flush=True)  # noqa: T201


def main() -> None:
    """Both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=135_000, help="studies to enter; each makes seven to eight rows")
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.only != "postgresql":
            ledger = open_ledger(folder / "ledger.sqlite")
            report("SQLite", ledger, folder, arguments.studies)
            ledger.close()
        if arguments.only != "sqlite":
            with running_postgres() as server:
                ledger = open_ledger(server.address(server.create()))
                report("PostgreSQL", ledger, folder, arguments.studies)
                ledger.close()


if __name__ == "__main__":
    main()
