"""Puts the service together: the only place where adapters are chosen and built."""

import secrets
import signal
import time
from threading import Event

import structlog

from trabecula_service.api.app import build_app
from trabecula_service.api.context import WebContext
from trabecula_service.api.server import WebServer
from trabecula_service.calibrate.store import calibration_policy
from trabecula_service.deliver.deliverer import Deliverer
from trabecula_service.deliver.registry import build_destination
from trabecula_service.ledger.database import open_ledger
from trabecula_service.ledger.outbox import recover_parcels
from trabecula_service.ops.data_folder import DataFolder
from trabecula_service.ops.loops import Heartbeats, Loop
from trabecula_service.queue.analysis_port import Analysis
from trabecula_service.queue.analysis_process import AnalysisProcess
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.queue.worker import Worker
from trabecula_service.receive.completion import settle_due
from trabecula_service.receive.intake import close_lost_associations
from trabecula_service.receive.listener import Listener
from trabecula_service.receive.object_store import ObjectStore
from trabecula_service.settings import Settings

ANALYSIS = "trabecula_service.pipeline.analyze:analyze_input"
_LEAVE_SECONDS = 35.0

log = structlog.get_logger("trabecula.service")


class Service:
    """Listener, settling, worker, delivery and page over one data folder.

    Parameters
    ----------
    settings : read once; nothing changes them later.
    analysis : "module:function" that the analysis process calls; tests give another one.

    Raises
    ------
    SettingsError
        If the data folder or a port cannot be had.
    """

    def __init__(self, settings: Settings, *, analysis: str = ANALYSIS) -> None:
        self.settings = settings
        self._folder = DataFolder(settings.data)
        self._folder.open()
        self._stopping = Event()
        self._run_id = secrets.token_hex(8)
        self._heartbeats = Heartbeats()
        self._ledger = open_ledger(self._folder.ledger)
        self._store = ObjectStore(self._folder.objects)
        self._queue = LeaseTable(lease_seconds=settings.work.lease_seconds)
        self._analysis: Analysis = AnalysisProcess(
            analysis,
            time_limit_seconds=settings.work.time_limit_seconds,
            memory_limit_gib=settings.work.memory_limit_gib,
            output=self._folder.root / "analysis-output.txt",
        )
        self._worker = self._build_worker()
        self._listener = Listener(settings.receive, self._ledger, self._store, run_id=self._run_id, data=self._folder.root)
        self._web = WebServer(build_app(self._web_context()), settings.api)
        self._loops = self._build_loops()

    @property
    def dicom_port(self) -> int:
        """Port of the listener."""
        return self._listener.port

    @property
    def url(self) -> str:
        """Address of the page."""
        return self._web.url

    def start(self) -> None:
        """Take up what an earlier run left, then open the doors."""
        self._recover()
        self._listener.start()
        for loop in self._loops:
            loop.start()
        self._web.start()
        log.info("started", url=self.url, port=self.dicom_port, data=str(self._folder.root), run_id=self._run_id)

    def stop(self) -> None:
        """Close the doors, end the present steps, leave the rest to the next start."""
        self._stopping.set()
        self._listener.stop()
        for loop in self._loops:
            loop.ask_to_stop()
        for loop in self._loops:
            loop.join(_LEAVE_SECONDS)
        self._analysis.close()
        self._web.stop()
        self._ledger.close()
        self._folder.close()
        log.info("stopped", run_id=self._run_id)

    def run(self) -> None:
        """Start, wait for SIGTERM or SIGINT, stop."""
        finish = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: finish.set())
        self.start()
        # A wait without a limit would keep the interpreter from running the signal handler on some platforms.
        while not finish.wait(1.0):
            pass
        self.stop()

    def _recover(self) -> None:
        now = time.time()
        self._store.clear_incoming()
        jobs = self._worker.recover()
        with self._ledger.write() as connection:
            associations = close_lost_associations(connection, self._run_id, now)
            parcels = recover_parcels(connection, sorted(self.settings.deliver.destinations), now)
        if jobs or associations or parcels:
            log.warning("taken_up_again", count=jobs + associations + parcels)

    def _build_worker(self) -> Worker:
        deliver = self.settings.deliver
        return Worker(
            self.settings.work,
            self._ledger,
            self._queue,
            self._store,
            self._analysis,
            self._folder,
            run_id=self._run_id,
            recipients={name: destination.documents for name, destination in deliver.destinations.items()},
            backend=self.settings.analysis.choice(),
            voi_style=self.settings.analysis.voi,
            calibration_policy=calibration_policy(self.settings),
            deliver_not_evaluable=deliver.not_evaluable,
            alive=lambda: self._heartbeats.beat("worker"),
            stopping=self._stopping.is_set,
        )

    def _build_loops(self) -> list[Loop]:
        pause = self.settings.work.poll_seconds
        loops = [
            Loop("settle", self._settle, pause_seconds=pause, heartbeats=self._heartbeats),
            Loop("worker", self._worker.step, pause_seconds=pause, heartbeats=self._heartbeats),
        ]
        for name, settings in self.settings.deliver.destinations.items():
            deliverer = Deliverer(name, build_destination(settings), self.settings.deliver, self._ledger, data=self._folder.root)
            loops.append(Loop(f"deliver-{name}", deliverer.step, pause_seconds=pause, heartbeats=self._heartbeats))
        return loops

    def _settle(self) -> bool:
        with self._ledger.write() as connection:
            return settle_due(connection, self._queue, self.settings.series, time.time()) > 0

    def _web_context(self) -> WebContext:
        return WebContext(
            ledger=self._ledger,
            queue=self._queue,
            settings=self.settings,
            heartbeats=self._heartbeats,
            data=self._folder.root,
            clock=time.time,
        )
