"""Metrics for Prometheus, computed from the ledger when they are asked for; labels are ours, never a patient's."""

import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.outbox import outbox_counts
from trabecula_service.ledger.queries import count_instances, count_jobs, count_skipped_by_code, count_states, oldest_waiting_at
from trabecula_service.ledger.stages import account, oldest_by_state, oldest_waiting_by_priority
from trabecula_service.ledger.states import END_STATES, State
from trabecula_service.ops.loops import Heartbeats
from trabecula_service.queue.port import Priority


class LedgerCollector(Collector):
    """The ledger's counts as gauges: they are true after a restart, which counters in memory are not."""

    def __init__(self, ledger: Ledger, heartbeats: Heartbeats, data: Path) -> None:
        self._ledger, self._heartbeats, self._data = ledger, heartbeats, data

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All families."""
        with self._ledger.read() as connection:
            studies, objects = count_states(connection), count_instances(connection)
            jobs, parcels, skipped = count_jobs(connection), outbox_counts(connection), count_skipped_by_code(connection)
            oldest = oldest_waiting_at(connection)
            stages, priorities, parts = oldest_by_state(connection), oldest_waiting_by_priority(connection), account(connection)
        now = time.time()
        yield _family(
            "trabecula_studies",
            "Studies by the state of their latest version",
            "state",
            {str(state): count for state, count in studies.items()},
        )
        yield _family("trabecula_objects", "Stored objects by kind; repeats are not stored again", "kind", objects)
        yield _family("trabecula_jobs", "Analyses by state", "state", jobs)
        yield _family("trabecula_skipped_studies", "Studies that could not be evaluated, by code", "code", skipped)
        outbox = GaugeMetricFamily("trabecula_deliveries", "Documents by destination and state", labels=["destination", "state"])
        for (destination, state), count in parcels.items():
            outbox.add_metric([destination, state], count)
        yield outbox
        yield _family("trabecula_account", "Studies: received = reported + refused + failed + pending", "part", parts)
        yield _family(
            "trabecula_stage_oldest_seconds",
            "How long the oldest study of each stage has been in it",
            "stage",
            {str(state): max(0.0, now - stages[state]) if state in stages else 0.0 for state in State if state not in END_STATES},
        )
        yield _family(
            "trabecula_oldest_waiting_by_priority_seconds",
            "Age of the oldest study that waits for its analysis, by priority",
            "priority",
            {p.name.lower(): max(0.0, now - priorities[p.value]) if p.value in priorities else 0.0 for p in Priority},
        )
        waiting = 0.0 if oldest is None else max(0.0, now - oldest)
        yield GaugeMetricFamily("trabecula_oldest_waiting_seconds", "Age of the oldest study that waits for its analysis", value=waiting)
        yield GaugeMetricFamily(
            "trabecula_disk_free_bytes", "Free space of the data folder's disk", value=shutil.disk_usage(self._data).free
        )
        yield _family("trabecula_heartbeat_age_seconds", "Time since each loop last came round", "loop", self._heartbeats.ages_s())


def _family(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def metrics_text(collector: LedgerCollector) -> bytes:
    """The page of ``/metrics``."""
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry)
