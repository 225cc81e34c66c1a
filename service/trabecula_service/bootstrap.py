"""Puts the service together: the only place where adapters are chosen and built."""

import gc
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from enum import StrEnum
from threading import Event

import structlog

from trabecula_service.api.app import build_app
from trabecula_service.api.context import WebContext
from trabecula_service.api.health import build_health_app
from trabecula_service.api.server import WebServer
from trabecula_service.calibrate.store import calibration_policy
from trabecula_service.deliver.commitment import CommitmentAsker
from trabecula_service.deliver.deliverer import Deliverer
from trabecula_service.deliver.registry import build_committer, build_destination
from trabecula_service.deliver.retention import Sweeper
from trabecula_service.ledger.database import Ledger, ledger_place, open_ledger
from trabecula_service.ledger.outbox import recover_parcels
from trabecula_service.ledger.presence import associations_of_the_gone, forget_gone, give_sign_of_life, leave
from trabecula_service.ledger.retention import RetentionRule
from trabecula_service.ops.bucket import open_bucket
from trabecula_service.ops.data_files import CacheKeeper
from trabecula_service.ops.data_folder import DataFolder
from trabecula_service.ops.loops import Heartbeats, Loop
from trabecula_service.queue.analysis_process import AnalysisProcess
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.queue.port import JobQueue
from trabecula_service.queue.priority import PriorityRule
from trabecula_service.queue.procrastinate_queue import ProcrastinateQueue
from trabecula_service.queue.worker import Worker
from trabecula_service.receive.commitment import CommitmentReporter
from trabecula_service.receive.completion import settle_due
from trabecula_service.receive.intake import close_association, take_back_unfinished
from trabecula_service.receive.listener import Listener
from trabecula_service.receive.listener_group import ListenerGroup, ListenerTask
from trabecula_service.receive.object_store import ObjectStore
from trabecula_service.settings.access import ApiSettings
from trabecula_service.settings.deliver import CStoreDestination
from trabecula_service.settings.model import Settings

ANALYSIS = "trabecula_service.pipeline.analyze:analyze_input"
_LEAVE_SECONDS = 35.0
_PRESENCE_SECONDS = 5.0

log = structlog.get_logger("trabecula.service")


class Role(StrEnum):
    """What a process of the service does; ``serve`` does all of it."""

    LISTEN = "listen"
    WORK = "work"
    DELIVER = "deliver"
    API = "api"


class Service:
    """Some or all roles of the service over one data folder and one ledger.

    Parameters
    ----------
    settings : read once; nothing changes them later.
    roles : what this process does. With all of them and a ledger in the data folder it has both for itself.
    health_port : also answer ``/healthz`` and ``/metrics`` there, for roles that have no page; 0 takes a free one.
    analysis : "module:function" that the analysis process calls; tests give another one.

    Raises
    ------
    SettingsError
        If the data folder, the ledger or a port cannot be had.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        roles: frozenset[Role] = frozenset(Role),
        health_port: int | None = None,
        analysis: str = ANALYSIS,
    ) -> None:
        self.settings, self.roles = settings, roles
        self._alone = settings.ledger.postgresql is None and roles == frozenset(Role)
        self._stopping, self._heartbeats, self._run_id = Event(), Heartbeats(), secrets.token_hex(8)
        self._bucket = open_bucket(settings.objects)
        self._folder = DataFolder(settings.data, self._bucket)
        self._folder.open(alone=self._alone)
        self._ledger = open_ledger(ledger_place(settings.ledger, self._folder.root), may_migrate=settings.ledger.migrate)
        self._store = ObjectStore(self._folder.objects, self._bucket)
        self._queue = build_queue(self._ledger, settings)
        self._loops = [self._loop("presence", self._show_presence, pause_seconds=_PRESENCE_SECONDS)]
        if self._bucket is not None:
            keeper = CacheKeeper(self._ledger, self._folder.root, limit_bytes=settings.objects.cache_gib * 1024**3)
            self._loops.append(self._loop("cache", keeper.step))
        self._listener = self._build_listener() if Role.LISTEN in roles else None
        self._analysis = self._build_analysis(analysis) if Role.WORK in roles else None
        self._worker = self._build_worker(self._analysis) if self._analysis else None
        if Role.DELIVER in roles:
            self._build_deliverers()
        self._web = self._build_web(health_port)

    @property
    def dicom_port(self) -> int:
        """Port of the listener; 0 without one."""
        return self._listener.port if self._listener else 0

    @property
    def url(self) -> str:
        """Address of the page or of the health endpoint; empty without one."""
        return self._web.url if self._web else ""

    def start(self) -> None:
        """Take up what an earlier run left, then open the doors."""
        self._recover()
        if self._listener:
            self._listener.start()
        for loop in self._loops:
            loop.start()
        if self._web:
            self._web.start()
        stage = ",".join(sorted(self.roles))
        log.info("started", url=self.url, port=self.dicom_port, data=str(self._folder.root), run_id=self._run_id, stage=stage)

    def stop(self) -> None:
        """Close the doors, end the present steps, leave the rest to the next start."""
        self._stopping.set()
        if self._listener:
            self._listener.stop()
        for loop in self._loops:
            loop.ask_to_stop()
        for loop in self._loops:
            loop.join(_LEAVE_SECONDS)
        if self._analysis:
            self._analysis.close()
        if self._web:
            self._web.stop()
        with self._ledger.write() as connection:
            leave(connection, self._run_id)
        self._ledger.close()
        self._folder.close()
        log.info("stopped", run_id=self._run_id)

    def run(self) -> None:
        """Start, wait for SIGTERM or SIGINT, stop."""
        finish = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: finish.set())
        self.start()
        # What is loaded by now stays; a full collection that looks at all of it stops every thread for a tenth of a second and more.
        gc.freeze()
        # A wait without a limit would keep the interpreter from running the signal handler on some platforms.
        while not finish.wait(1.0):
            pass
        self.stop()

    def _recover(self) -> None:
        if self._alone:
            self._store.clear_incoming()
        count = self._worker.recover(alone=self._alone) if self._worker else 0
        with self._ledger.write() as connection:
            if self._alone:
                forget_gone(connection, alone=self._run_id)
            if Role.DELIVER in self.roles:
                destinations = self.settings.deliver.destinations
                confirming = [name for name, settings in destinations.items() if build_committer(settings) is not None]
                count += recover_parcels(connection, sorted(destinations), time.time(), confirming=confirming, alone=self._alone)
        count += self._show_presence()
        if count:
            log.warning("taken_up_again", count=count)

    def _show_presence(self) -> int:
        """Give a sign of life, and close the associations of processes that give none any more; how many. Their quiet time begins then."""
        with self._ledger.write() as connection:
            give_sign_of_life(connection, self._run_id, roles=",".join(sorted(self.roles)), host=socket.gethostname())
            forget_gone(connection)
            lost = associations_of_the_gone(connection)
            take_back_unfinished(connection, self._store.is_whole, lost, time.time())
            for association_id in lost:
                close_association(connection, association_id, "restart", time.time())
        return len(lost)

    def _loop(self, name: str, step: Callable[[], object], *, pause_seconds: float | None = None) -> Loop:
        pause = self.settings.work.poll_seconds if pause_seconds is None else pause_seconds
        return Loop(name, step, pause_seconds=pause, heartbeats=self._heartbeats)

    def _build_listener(self) -> Listener | ListenerGroup:
        self._loops.append(self._loop("settle", self._settle))
        settings = self.settings.receive
        if settings.commitment_peers:
            reporter = CommitmentReporter(self._ledger, settings.commitment_peers, settings.ae_title)
            self._loops.append(self._loop("commitment", reporter.step))
        if settings.processes == 1:
            return Listener(settings, self._ledger, self._store, run_id=self._run_id, data=self._folder.root)
        task = ListenerTask(
            settings=settings,
            log=self.settings.log,
            ledger=self._ledger.where,
            objects=self._folder.objects,
            shared=self.settings.objects,
            data=self._folder.root,
            run_id=self._run_id,
            parent=os.getpid(),
        )
        group = ListenerGroup(task, self._ledger)
        self._loops.append(self._loop("listeners", group.watch))
        return group

    def _build_analysis(self, target: str) -> AnalysisProcess:
        return AnalysisProcess(
            target,
            time_limit_seconds=self.settings.work.time_limit_seconds,
            memory_limit_gib=self.settings.work.memory_limit_gib,
            # Several workers may share the folder; the name of the machine's last one is enough to find what it printed.
            output=self._folder.root / ("analysis-output.txt" if self._alone else f"analysis-output-{socket.gethostname()}.txt"),
        )

    def _build_worker(self, analysis: AnalysisProcess) -> Worker:
        deliver = self.settings.deliver
        worker = Worker(
            self.settings.work,
            self._ledger,
            self._queue,
            self._store,
            analysis,
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
        self._loops.append(self._loop("worker", worker.step))
        return worker

    def _build_deliverers(self) -> None:
        for name, settings in self.settings.deliver.destinations.items():
            destination, root = build_destination(settings), self._folder.root
            deliverer = Deliverer(name, destination, self.settings.deliver, self._ledger, data=root, bucket=self._bucket)
            self._loops.append(self._loop(f"deliver-{name}", deliverer.step))
            committer = build_committer(settings)
            if committer is not None and isinstance(settings, CStoreDestination):
                wait = settings.commitment_seconds
                asker = CommitmentAsker(name, committer, self.settings.deliver, self._ledger, wait_seconds=wait)
                self._loops.append(self._loop(f"deliver-{name}-commitment", asker.step))
        retention = self.settings.retention
        if retention.days is not None:
            rule = RetentionRule(seconds=retention.days * 86400.0, only_signed=retention.only_signed)
            sweeper = Sweeper(self._ledger, self._store, self._folder.root, rule, bucket=self._bucket)
            self._loops.append(self._loop("retention", sweeper.step))

    def _build_web(self, health_port: int | None) -> WebServer | None:
        if Role.API in self.roles:
            return WebServer(build_app(self._web_context()), self.settings.api)
        if health_port is None:
            return None
        # Nothing about a patient is said there, and whoever watches the process is often another machine.
        where = ApiSettings(host=self.settings.receive.bind, port=health_port)
        return WebServer(build_health_app(self._web_context()), where)

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
            bucket=self._bucket,
        )


def build_queue(ledger: Ledger, settings: Settings) -> JobQueue:
    """The queue that goes with the ledger's database."""
    lease_seconds, priority = settings.work.lease_seconds, PriorityRule(settings.series.stat_callers)
    if ledger.is_shared:
        return ProcrastinateQueue(lease_seconds=lease_seconds, priority=priority)
    return LeaseTable(lease_seconds=lease_seconds, priority=priority)
