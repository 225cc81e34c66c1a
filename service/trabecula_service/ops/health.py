"""Whether the service is well: ledger, disk, loops, queue."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.queries import count_jobs
from trabecula_service.ops.loops import Heartbeats

_GIB = 1024**3
_WORKER_SILENCE_SECONDS = 30.0
"""The worker gives a sign of life every second even while it analyses; the deliverers wait for slow peers, so they have longer."""
_DELIVERER_SILENCE_SECONDS = 300.0

_WRITTEN = {"objects": "new objects are refused", "work": "nothing is analysed", "results": "nothing is analysed"}
"""Folders below the data folder that must be writable, and what stands still where one is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One look at the service; ``problems`` is empty if it is well."""

    problems: list[str]
    disk_free_gib: float
    queue_depth: int
    heartbeat_age_s: dict[str, float]


def check_health(ledger: Ledger, heartbeats: Heartbeats, data: Path, reserve_free_gib: float) -> Health:
    """Look at everything that must work."""
    problems = []
    queue_depth = 0
    try:
        with ledger.read() as connection:
            jobs = count_jobs(connection)
        queue_depth = jobs.get("ready", 0) + jobs.get("leased", 0)
    except SQLAlchemyError as error:
        problems.append(f"the ledger cannot be read ({type(error).__name__})")
    free_gib = shutil.disk_usage(data).free / _GIB
    if free_gib < reserve_free_gib:
        problems.append(f"{free_gib:.1f} GiB free, less than receive.reserve_free_gib = {reserve_free_gib:g}: new objects are refused")
    for name, meaning in _WRITTEN.items():
        folder = data / name
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            problems.append(f"the folder {name} cannot be written (permission or read-only mount): {meaning}")
    ages = heartbeats.ages_s()
    for name, age in ages.items():
        limit = _DELIVERER_SILENCE_SECONDS if name.startswith("deliver") else _WORKER_SILENCE_SECONDS
        if age > limit:
            problems.append(f"the {name} loop has given no sign of life for {age:.0f} s")
    return Health(problems=problems, disk_free_gib=free_gib, queue_depth=queue_depth, heartbeat_age_s=ages)
