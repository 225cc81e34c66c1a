"""A running service in a process of its own on free loopback ports, senders, and a PACS that collects what it gets."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import httpx2
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt

from trabecula_service.requestor import associate

FAKE_ANALYSIS = "builders.fake_analysis:analyze"
_TESTS = Path(__file__).resolve().parents[1]
_RUN = "import sys; from trabecula_service.bootstrap import Service; from trabecula_service.ops.logs import set_up_logs; from trabecula_service.settings.read import read_settings; from pathlib import Path; settings = read_settings(Path(sys.argv[1])); set_up_logs(settings.log); Service(settings, analysis=sys.argv[2]).run()"  # noqa: E501


@dataclass
class Collector:
    """A PACS on loopback that keeps what it is sent; ``answer`` decides the status."""

    port: int = 0
    received: list[Dataset] = field(default_factory=list)
    answer: Callable[[Dataset], int] = lambda _dataset: 0x0000
    _server: Any = None
    _ae: Any = None
    _lock: Lock = field(default_factory=Lock)

    def start(self) -> "Collector":
        """Listen, on the same port as before if there was one."""
        self._ae = AE(ae_title="PACS")
        self._ae.add_supported_context("1.2.840.10008.1.1")
        for context in AllStoragePresentationContexts:
            self._ae.add_supported_context(context.abstract_syntax)
        self._server = self._ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self.port = self._server.socket.getsockname()[1]
        return self

    def stop(self) -> None:
        """No longer listen, and abort what is open. Connections that have not asked yet are given time to ask or to go: pynetdicom's
        server cannot abort them (its thread then ends with an InvalidEventError)."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server = None
        for _ in wait_ticks(2.0):
            if all(association.is_established for association in self._ae.active_associations):
                break
        self._ae.shutdown()

    def uids(self) -> list[str]:
        """SOP Instance UIDs in the order in which they came."""
        with self._lock:
            return [str(dataset.SOPInstanceUID) for dataset in self.received]

    def _store(self, event: Any) -> int:
        dataset = event.dataset
        status = self.answer(dataset)
        if status == 0x0000:
            with self._lock:
                self.received.append(dataset)
        return status


@dataclass
class RunningService:
    """A service process; its log goes to ``log_path``."""

    process: subprocess.Popen[bytes]
    config: Path
    log_path: Path
    analysis: str
    dicom_port: int = 0
    url: str = ""

    def get(self, path: str, **options: Any) -> httpx2.Response:
        """GET from the service."""
        return httpx2.get(self.url + path, timeout=10, **options)

    def post(self, path: str, **options: Any) -> httpx2.Response:
        """POST to the service."""
        return httpx2.post(self.url + path, timeout=10, **options)

    def studies(self) -> list[dict[str, Any]]:
        """The work list."""
        return list(self.get("/api/v1/studies?limit=500").json()["studies"])

    def study(self, study_id: str) -> dict[str, Any]:
        """Everything about one study."""
        return dict(self.get(f"/api/v1/studies/{study_id}").json())

    def wait_for(self, *states: str, seconds: float = 60.0, count: int = 1) -> list[dict[str, Any]]:
        """Wait until ``count`` studies are there and each is in one of the states."""
        rows: list[dict[str, Any]] = []
        for _ in wait_ticks(seconds):
            rows = self.studies()
            if len(rows) >= count and all(row["state"] in states for row in rows):
                return rows
        raise AssertionError(f"waited {seconds} s for {states}; there is {[(row['state'], row['reason']) for row in rows]}\n{self.log()}")

    def log(self) -> str:
        """The log so far."""
        return self.log_path.read_text()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 60.0) -> int:
        """SIGTERM and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def restart(self) -> None:
        """Start again over the same data folder and settings."""
        again = launch(self.config, analysis=self.analysis)
        self.process, self.log_path, self.dicom_port, self.url = again.process, again.log_path, again.dicom_port, again.url


def write_settings(folder: Path, *, quiet_seconds: float = 0.3, pacs_port: int | None = None, receive: str = "", more: str = "") -> Path:
    """Settings for a test: free ports, short waits; ``more`` is added TOML, ``receive`` lines of its section."""
    config = folder / "trabecula.toml"
    pacs = (
        f'[deliver.destinations.pacs]\nkind = "c-store"\nhost = "127.0.0.1"\nport = {pacs_port}\nae_title = "PACS"\ntimeout_seconds = 5\n'
    )
    config.write_text(
        f'data = "{folder / "data"}"\n'
        '[receive]\nbind = "127.0.0.1"\nport = 0\nreserve_free_gib = 0\nallowed_callers = ["127.0.0.1"]\n'
        f"{receive}\n"
        f"[series]\nquiet_seconds = {quiet_seconds}\n"
        "[work]\npoll_seconds = 0.05\nretry_seconds = 0.1\n"
        "[deliver]\nretry_seconds = 0.2\nretry_cap_seconds = 0.5\n"
        "[api]\nport = 0\n" + (pacs if pacs_port else "") + more
    )
    return config


def launch(config: Path, *, analysis: str = FAKE_ANALYSIS, seconds: float = 120.0) -> RunningService:
    """Start a service and wait until it is ready."""
    log_path = config.parent / f"log-{time.monotonic_ns()}.jsonl"
    paths = os.pathsep.join(filter(None, [str(_TESTS), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    with log_path.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", _RUN, str(config), analysis], stdout=log, stderr=log, env=environment)
    service = RunningService(process=process, config=config, log_path=log_path, analysis=analysis)
    for _ in wait_ticks(seconds):
        for line in log_path.read_text().splitlines():
            entry = json.loads(line) if line.startswith("{") else {}
            if entry.get("event") == "started":
                service.dicom_port, service.url = entry["port"], entry["url"]
                return service
        if process.poll() is not None:
            break
    process.kill()
    raise AssertionError(f"the service did not start:\n{log_path.read_text()}")


@contextmanager
def running_service(
    folder: Path,
    *,
    analysis: str = FAKE_ANALYSIS,
    quiet_seconds: float = 0.3,
    pacs_port: int | None = None,
    receive: str = "",
    more: str = "",
) -> Iterator[RunningService]:
    """A service with a data folder below ``folder``; ended with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    config = write_settings(folder, quiet_seconds=quiet_seconds, pacs_port=pacs_port, receive=receive, more=more)
    service = launch(config, analysis=analysis)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.kill()


def send(
    port: int,
    datasets: Sequence[Dataset],
    *,
    ae_title: str = "SCANNER",
    called: str = "TRABECULA",
    address: str = "127.0.0.1",
    patience_seconds: float = 30.0,
) -> list[int]:
    """C-STORE over one association; the statuses, or an empty list if the association was refused."""
    ae = AE(ae_title=ae_title)
    ae.dimse_timeout = patience_seconds
    pairs = {(str(d.SOPClassUID), str(d.file_meta.TransferSyntaxUID)) for d in datasets}
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in sorted(pairs)]
    association = associate(ae, "127.0.0.1", port, contexts=contexts, ae_title=called, bind_address=(address, 0))
    if not association.is_established:
        return []
    statuses = [int(association.send_c_store(dataset).get("Status", -1)) for dataset in datasets]
    association.release()
    return statuses


def wait_ticks(seconds: float, *, pause: float = 0.05) -> Iterator[None]:
    """Ticks until the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(pause)
