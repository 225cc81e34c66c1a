"""The registry over REST: added, listed, exported, charted, never changed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from builders.calibrations import ENTRY
from trabecula_calibration.registry import parse_registry, registry_toml
from trabecula_service.api.app import build_app
from trabecula_service.api.context import WebContext
from trabecula_service.ledger.database import open_ledger
from trabecula_service.ops.loops import Heartbeats
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.settings.model import Settings


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    ledger = open_ledger(tmp_path / "ledger.sqlite")
    settings = Settings(data=tmp_path)
    context = WebContext(
        ledger=ledger,
        queue=LeaseTable(lease_seconds=60),
        settings=settings,
        heartbeats=Heartbeats(),
        data=tmp_path,
        clock=lambda: 1_780_000_000.0,
    )
    yield TestClient(build_app(context), base_url="http://localhost", client=("127.0.0.1", 40000))
    ledger.close()


def test_what_is_added_is_listed_and_exported_as_it_was(client: TestClient) -> None:
    answer = client.post("/api/v1/calibrations", content=registry_toml([ENTRY]), headers={"content-type": "application/toml"})
    assert (answer.status_code, answer.json()) == (201, {"entries": [ENTRY.id], "checks": 0, "changes": 0})
    listed = client.get("/api/v1/calibrations").json()["calibrations"]
    assert [(entry["id"], entry["material"], entry["content_sha256"]) for entry in listed] == [(ENTRY.id, "K2HPO4", ENTRY.content_sha256)]
    assert parse_registry(client.get("/api/v1/calibrations/export.toml").text).entries == (ENTRY,)
    assert client.get(f"/api/v1/calibrations/{ENTRY.id}/chart.svg").text.lstrip().startswith("<?xml")


def test_an_entry_is_never_changed_and_an_implausible_one_never_added(client: TestClient) -> None:
    client.post("/api/v1/calibrations", content=registry_toml([ENTRY]))
    changed = client.post("/api/v1/calibrations", content=registry_toml([replace(ENTRY, intercept_mg_cm3=5.0)]))
    assert changed.status_code == 422
    assert "supersedes" in changed.json()["detail"]
    absurd = registry_toml([ENTRY]).replace("slope = 0.74", "slope = 7.4").replace(ENTRY.id, "other")
    refused = client.post("/api/v1/calibrations", content=absurd)
    assert refused.status_code == 422
    assert "20 %" in refused.json()["detail"]
    corrected = replace(ENTRY, id="ge-120-b", intercept_mg_cm3=5.0, supersedes=ENTRY.id, valid_from=date(2026, 1, 2))
    assert client.post("/api/v1/calibrations", content=registry_toml([corrected])).status_code == 201
    assert [entry["superseded"] for entry in client.get("/api/v1/calibrations").json()["calibrations"]] == [True, False]
