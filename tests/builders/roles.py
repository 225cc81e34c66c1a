"""The roles of the service as processes of their own over one PostgreSQL and one data folder."""

import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx2

from builders.service import FAKE_ANALYSIS, wait_ticks

_SERVER = multiprocessing.get_context("forkserver")
# Each process is forked from one that has imported everything: ten of them would otherwise take most of a test's time to start.
_SERVER.set_forkserver_preload(["trabecula_service.bootstrap", "trabecula_service.ops.logs", "builders.roles"])


def run_role(config: Path, roles: str, analysis: str, log_path: Path, environment: dict[str, str]) -> None:
    """Body of a process."""
    from trabecula_service.bootstrap import Role, Service
    from trabecula_service.ops.logs import set_up_logs
    from trabecula_service.settings.read import read_settings

    os.environ.update(environment)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    settings = read_settings(config)
    set_up_logs(settings.log)
    Service(settings, roles=frozenset(Role(name) for name in roles.split(",")), health_port=0, analysis=analysis).run()


@dataclass
class RoleProcess:
    """One process with one or more roles."""

    process: ForkServerProcess
    roles: str
    log_path: Path
    dicom_port: int = 0
    url: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.is_alive()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.join()

    def stop(self) -> int | None:
        """SIGTERM and the exit code."""
        self.process.terminate()
        self.process.join(60)
        return self.process.exitcode


@dataclass
class Cluster:
    """Processes that share the settings ``config``."""

    config: Path
    analysis: str = FAKE_ANALYSIS
    processes: list[RoleProcess] = field(default_factory=list)

    def start(self, *roles: str) -> list[RoleProcess]:
        """Start processes, one for each name ("work", or "listen,deliver"), and wait until all are ready."""
        new = [self._launch(names) for names in roles]
        for process in new:
            self._wait_until_ready(process)
        return new

    def get(self, path: str) -> httpx2.Response:
        """GET from the process that has the page."""
        url = next(process.url for process in self.processes if "api" in process.roles and process.is_alive)
        return httpx2.get(url + path, timeout=10)

    def studies(self) -> list[dict[str, Any]]:
        """The work list."""
        return list(self.get("/api/v1/studies?limit=500").json()["studies"])

    def wait_for(self, state: str, *, count: int, seconds: float = 120.0) -> list[dict[str, Any]]:
        """Wait until so many studies are in this state."""
        rows: list[dict[str, Any]] = []
        for _ in wait_ticks(seconds):
            rows = self.studies()
            if sum(row["state"] == state for row in rows) >= count:
                return rows
        raise AssertionError(f"waited {seconds} s for {count} {state}; there is {[(row['state'], row['reason']) for row in rows]}")

    def _launch(self, roles: str) -> RoleProcess:
        log_path = self.config.parent / f"log-{roles}-{time.monotonic_ns()}.jsonl"
        log_path.touch()
        environment = {"OMP_NUM_THREADS": "1", **{key: value for key, value in os.environ.items() if key.startswith("TRABECULA")}}
        process = _SERVER.Process(target=run_role, args=(self.config, roles, self.analysis, log_path, environment))
        process.start()
        started = RoleProcess(process=process, roles=roles, log_path=log_path)
        self.processes.append(started)
        return started

    def _wait_until_ready(self, process: RoleProcess) -> None:
        for _ in wait_ticks(120):
            for line in process.log_path.read_text().splitlines():
                entry = json.loads(line) if line.startswith("{") else {}
                if entry.get("event") == "started":
                    process.dicom_port, process.url = entry["port"], entry["url"]
                    return
            if not process.is_alive:
                break
        raise AssertionError(f"{process.roles} did not start:\n{process.log_path.read_text()}")


@contextmanager
def cluster(
    folder: Path, postgres: str, roles: Sequence[str], *, pacs_port: int | None = None, analysis: str = FAKE_ANALYSIS
) -> Iterator[Cluster]:
    """Processes over the database at ``postgres`` and a data folder below ``folder``; ended with the block."""
    config = folder / "trabecula.toml"
    config.write_text(
        f'data = "{folder / "data"}"\n'
        f'[ledger]\npostgresql = "{postgres}"\n'
        '[receive]\nbind = "127.0.0.1"\nport = 0\nreserve_free_gib = 0\nallowed_callers = ["127.0.0.1"]\n'
        "[series]\nquiet_seconds = 0.3\n"
        "[work]\npoll_seconds = 0.05\nretry_seconds = 0.1\nlease_seconds = 4.0\n"
        "[deliver]\nretry_seconds = 0.2\nretry_cap_seconds = 0.5\n"
        "[api]\nport = 0\n"
        + (
            f'[deliver.destinations.pacs]\nkind = "c-store"\nhost = "127.0.0.1"\nport = {pacs_port}\nae_title = "PACS"\n'
            if pacs_port
            else ""
        )
    )
    running = Cluster(config, analysis)
    try:
        running.start(*roles)
        yield running
    finally:
        for process in running.processes:
            if process.is_alive:
                process.kill()
