"""The web application over a ledger that tests fill themselves: no listener, no worker, no process of its own."""

from pathlib import Path

from fastapi import FastAPI
from sqlalchemy import insert
from starlette.testclient import TestClient

from trabecula_service.api.app import build_app
from trabecula_service.api.context import WebContext
from trabecula_service.client import TrabeculaClient
from trabecula_service.ledger.database import Ledger, open_ledger
from trabecula_service.ledger.reviews import note_result
from trabecula_service.ledger.schema import documents, studies, versions
from trabecula_service.ledger.states import State
from trabecula_service.ops.loops import Heartbeats
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.result import Result
from trabecula_service.settings.model import Settings

NOW = 1_790_000_000.0


class Site:
    """A ledger with studies in it, the application over it, and a client of that."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.ledger: Ledger = open_ledger(data / "ledger.sqlite")
        context = WebContext(
            ledger=self.ledger, queue=LeaseTable(lease_seconds=60.0), settings=Settings(data=data), heartbeats=Heartbeats(), data=data,
            clock=lambda: NOW + 100.0,
        )  # fmt: skip
        self.app: FastAPI = build_app(context)
        self.http = TestClient(self.app, base_url="http://127.0.0.1", client=("127.0.0.1", 40000))
        self.client = TrabeculaClient("http://127.0.0.1", transport=self.http._transport)

    def close(self) -> None:
        """Give everything back."""
        self.client.close()
        self.http.close()
        self.ledger.close()

    def add(self, number: int, result: Result, *, state: State = State.DONE, files: dict[str, bytes] | None = None) -> str:
        """A study with one version; received ``number`` seconds after ``NOW``."""
        study_id = f"{number:016x}"
        with self.ledger.write() as connection:
            connection.execute(
                insert(studies).values(
                    id=study_id, study_instance_uid=f"1.2.{number}", patient_key="k", patient_name="Secret^Name", patient_id="SECRET",
                    accession_number="SECRET", study_date="20260301", study_description="CT", first_received_at=NOW + number,
                    latest_version=1,
                )
            )  # fmt: skip
            key = connection.execute(
                insert(versions).values(
                    study_id=study_id, number=1, state=state, reason="because", state_since=NOW, first_object_at=NOW, last_activity_at=NOW,
                    result_json=result.to_json(),
                )
            ).inserted_primary_key  # fmt: skip
            assert key is not None
            for name, content in {"report.pdf": b"%PDF " + str(number).encode(), **(files or {})}.items():
                path = self.data / f"{number}-{name}"
                path.write_bytes(content)
                row = {"name": name, "path": path.name, "sha256": f"{number:064x}", "size_bytes": len(content)}
                connection.execute(insert(documents).values(version_id=key[0], **row))
            note_result(connection, key[0], result)
        return study_id
