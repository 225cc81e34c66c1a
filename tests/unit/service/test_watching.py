"""What is watched exists: alerts, dashboard and runbook name only metrics that the service has, and the account adds up."""

import json
import re
import time
from pathlib import Path

import pytest
import yaml

from builders.ledger import enter
from builders.small_ct import small_ct
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.states import State
from trabecula_service.ops.loops import Heartbeats
from trabecula_service.ops.metrics import LedgerCollector, metrics_text
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.receive.completion import settle_due
from trabecula_service.settings.receive import SeriesSettings

ROOT = Path(__file__).resolve().parents[3]
ALERTS = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "trabecula.json").read_text())
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()


def _metrics(ledger: Ledger, folder: Path) -> str:
    heartbeats = Heartbeats()
    heartbeats.beat("worker")
    return metrics_text(LedgerCollector(ledger, heartbeats, folder)).decode()


@pytest.mark.parametrize("expression", [rule["expr"] for rule in ALERTS] + [p["targets"][0]["expr"] for p in DASHBOARD["panels"]])
def test_every_metric_that_is_asked_for_exists(expression: str, ledger: Ledger, tmp_path: Path) -> None:
    text = _metrics(ledger, tmp_path)
    for name in re.findall(r"trabecula_[a-z_]+", expression):
        assert f"# TYPE {name} " in text


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_the_runbook_says_what_to_do_about_each_alert(alert: str) -> None:
    assert f"\n## {alert}\n" in RUNBOOK


def test_the_account_adds_up_in_every_state(ledger: Ledger, tmp_path: Path) -> None:
    from sqlalchemy import select, update

    from trabecula_service.ledger.schema import versions

    now = time.time()
    for number in range(len(State)):
        enter(ledger, small_ct(slices=1, PatientID=str(number))[0], now - 1000.0)
    with ledger.write() as connection:
        settle_due(connection, LeaseTable(lease_seconds=60.0), SeriesSettings(), now)
        for state, version_id in zip(State, connection.execute(select(versions.c.id)).scalars().all(), strict=True):
            connection.execute(update(versions).where(versions.c.id == version_id).values(state=state))
    parts = {name: float(value) for name, value in re.findall(r'trabecula_account\{part="(\w+)"\} (\S+)', _metrics(ledger, tmp_path))}
    assert parts.pop("received") == sum(parts.values()) == len(State)
    assert (parts["reported"], parts["refused"], parts["failed"]) == (1.0, 1.0, 1.0)
    waited = re.search(r'trabecula_oldest_waiting_by_priority_seconds\{priority="routine"\} (\S+)', _metrics(ledger, tmp_path))
    assert waited is not None
    assert float(waited[1]) >= 1000.0
