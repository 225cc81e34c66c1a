"""``./run bench kill``: the service killed at every named point of its work, with several series in flight, on both ledgers.

A supervisor starts what died, as systemd would; senders send until each slice is acknowledged, as a PACS would. No other hand is laid on.
After each kill all studies must be done; at the end every acknowledged object must be in the ledger once and whole on the disk, every
study must have one report that stands, and the PACS must hold that report and nothing that the ledger does not know.

Options: ``--runs N`` kills at each point (default 20), ``--ledger sqlite|postgresql|both``, ``--points A,B``, ``--seed N``, ``--out FILE``.
"""

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select

from builders.fake_analysis import DOCUMENTS
from builders.kill_points import POINTS
from builders.postgres import PostgresServer, running_postgres
from builders.service import Collector, send, wait_ticks, write_settings
from builders.small_ct import small_ct
from trabecula_service.ledger.database import Ledger, open_ledger
from trabecula_service.ledger.schema import deliveries, documents, instances, versions
from trabecula_service.receive.object_store import ObjectStore

TESTS = Path(__file__).resolve().parents[1]
SERIES_AT_ONCE = 3
SLICES = 4
MOST_SKIPPED = {"listen": 6, "work": 1, "deliver": 4}
"""A kill strikes at one of the first so many times that its point is reached."""
ONCE_A_SERIES = ("association ending", "settled, not committed")
OUTSIDE = ("the database", "the PACS")
"""Killed beside our own processes."""


@dataclass
class Sender:
    """Sends one series until every slice is acknowledged."""

    images: Sequence[Dataset]
    acknowledged: set[str] = field(default_factory=set)

    def run(self, port: int, stop: Event) -> None:
        """Body of a thread."""
        while not stop.is_set():
            rest = [image for image in self.images if str(image.SOPInstanceUID) not in self.acknowledged]
            if not rest:
                return
            if not _answers(port):
                stop.wait(0.1)
                continue
            try:
                statuses = send(port, rest, patience_seconds=3.0)
            except (RuntimeError, ValueError, OSError):
                statuses = []
            self.acknowledged |= {str(image.SOPInstanceUID) for image, status in zip(rest, statuses, strict=False) if status == 0}
            stop.wait(0.05)


class Matrix:
    """One installation that is killed again and again."""

    def __init__(self, folder: Path, postgres: PostgresServer | None, database: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.postgres = folder, postgres
        self.pacs = Collector().start()
        self.port = _free_port()
        where: Path | str = postgres.address(database) if postgres else folder / "data" / "ledger.sqlite"
        more = f'[ledger]\npostgresql = "{where}"\n' if postgres else ""
        config = write_settings(folder, quiet_seconds=1.0, pacs_port=self.pacs.port, more=more)
        text = (
            config.read_text()
            .replace("port = 0\nreserve", f"port = {self.port}\nreserve")
            .replace("[work]\n", "[work]\nlease_seconds = 5\n")
        )
        config.write_text(text)
        self.config, self.control = config, folder / "kill"
        (folder / "data").mkdir(exist_ok=True)
        open_ledger(where).close()
        self.ledger = Ledger(where)
        self.senders: list[Sender] = []
        self.kills: dict[str, int] = {}
        self.restarts = 0
        self._stop = Event()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._supervisor = Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    def kill_at(self, point: str, skip: int, *, seconds: float = 600.0) -> None:
        """Send new series, be killed once at the point, and wait until everything is done."""
        done = self.control.with_suffix(".done")
        done.unlink(missing_ok=True)
        if point not in OUTSIDE:
            self.control.write_text(f"{point}:{skip}")
        threads = self._send_new()
        if point == "the database" and self.postgres:
            time.sleep(0.3 * (1 + skip))
            self.postgres.stop(how="immediate")
            time.sleep(0.5)
            self.postgres.start()
            done.touch()
        elif point == "the PACS":
            self.pacs.stop()
            time.sleep(1.0 + 0.5 * skip)
            self.pacs.start()
            done.touch()
        for _ in wait_ticks(seconds, pause=0.1):
            if done.exists() and not any(thread.is_alive() for thread in threads) and self._all_done():
                break
        else:
            raise AssertionError(f"killed at {point!r} ({skip} skipped): not finished after {seconds:g} s: {self.story()}")
        self.kills[point] = self.kills.get(point, 0) + 1

    def verify(self) -> dict[str, int]:
        """Hold everything against everything.

        Raises
        ------
        AssertionError
            With what was lost, doubled or left over.
        """
        acknowledged = {uid for sender in self.senders for uid in sender.acknowledged}
        store = ObjectStore(self.folder / "data" / "objects")
        with self.ledger.read() as connection:
            rows = connection.execute(select(instances)).all()
            answered = connection.execute(select(versions)).all()
            reports = connection.execute(
                select(documents.c.path, documents.c.name, versions.c.state).join(versions, versions.c.id == documents.c.version_id)
            ).all()
            open_parcels = connection.execute(select(deliveries.c.id).where(deliveries.c.state.in_(["pending", "sending"]))).all()
        assert sorted(row.sop_instance_uid for row in rows) == sorted(acknowledged), "acknowledged objects and ledger differ"
        assert all(row.kind == "ct" and store.is_whole(row.sha256, row.size_bytes) for row in rows), "an object is not whole on the disk"
        standing = [row for row in answered if row.state != "superseded"]
        assert len(standing) == len({row.study_id for row in standing}) == len(self.senders), "not one report for each study"
        assert {row.state for row in standing} == {"done"}
        assert open_parcels == []
        known = {name: set[str]() for name in ("done", "superseded")}
        for row in reports:
            if row.name in DOCUMENTS:
                known[row.state].add(str(dcmread(self.folder / "data" / row.path).SOPInstanceUID))
        held = {str(dataset.SOPInstanceUID): dataset for dataset in self.pacs.received}
        assert all(held[str(d.SOPInstanceUID)] == d for d in self.pacs.received), "one UID with two contents"
        assert known["done"] <= set(held) <= known["done"] | known["superseded"], "the PACS and the ledger differ"
        named = {Path(row.path).parts[1] for row in reports}
        left = {path.name for path in (self.folder / "data" / "results").iterdir()} - named
        return {
            "kills": sum(self.kills.values()),
            "restarts": self.restarts,
            "studies": len(standing),
            "objects": len(rows),
            "later_versions": len(answered) - len(standing),
            "sent_twice_the_same": len(self.pacs.received) - len(held),
            "folders_left": len(left),
        }

    def story(self) -> str:
        """What the ledger and the logs say, for a failure."""
        with self.ledger.read() as connection:
            states = [(row.study_id, row.number, row.state, row.reason) for row in connection.execute(select(versions))]
        logs = "".join(path.read_text()[-1500:] for path in self.folder.glob("log-*.jsonl"))
        return f"{[entry for entry in states if entry[2] not in ('done', 'superseded')]}\n{logs}"

    def close(self) -> None:
        """End all processes."""
        self._stop.set()
        self._supervisor.join()
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
        self.pacs.stop()
        self.ledger.close()

    def _send_new(self) -> list[Thread]:
        threads = []
        for number in range(SERIES_AT_ONCE):
            sender = Sender(small_ct(slices=SLICES, PatientID=f"{len(self.senders)}-{number}"))
            self.senders.append(sender)
            threads.append(Thread(target=sender.run, args=(self.port, self._stop), daemon=True))
            threads[-1].start()
        return threads

    def _all_done(self) -> bool:
        try:
            with self.ledger.read() as connection:
                states = connection.execute(select(versions.c.study_id, versions.c.state)).all()
        # The database may be the one that was killed.
        except Exception:
            return False
        standing = [row for row in states if row.state != "superseded"]
        return len(standing) == len(self.senders) and all(row.state == "done" for row in standing)

    def _supervise(self) -> None:
        roles = ("listen", "work", "deliver") if self.postgres else ("serve",)
        while not self._stop.is_set():
            for role in roles:
                process = self._processes.get(role)
                if process is None or process.poll() is not None:
                    self.restarts += process is not None
                    self._processes[role] = self._launch(role)
            self._stop.wait(0.05)

    def _launch(self, role: str) -> subprocess.Popen[bytes]:
        paths = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH", "")]))
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TRABECULA_TEST_KILL": str(self.control)}
        with (self.folder / f"log-{role}.jsonl").open("ab") as log:
            command = [sys.executable, "-m", "builders.kill_points", str(self.config), role]
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_matrix(matrix: Matrix, points: Sequence[str], runs: int, seed: int, *, say: bool = False) -> dict[str, int]:
    """Every point so many times, in a random order; what the end showed."""
    chance = random.Random(seed)
    plan = [point for point in points for _ in range(runs)]
    chance.shuffle(plan)
    try:
        for number, point in enumerate(plan):
            most = 2 if point in (*OUTSIDE, *ONCE_A_SERIES) else MOST_SKIPPED[POINTS[point][0]]
            skip = chance.randrange(most)
            started = time.monotonic()
            matrix.kill_at(point, skip)
            if say:
                print(f"{number + 1}/{len(plan)} {point} ({skip} skipped): {time.monotonic() - started:.1f} s", flush=True)  # noqa: T201
        return matrix.verify()
    finally:
        matrix.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench kill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--ledger", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--points", help="comma-separated; all by default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    asked = options.points.split(",") if options.points else [*POINTS, *OUTSIDE]
    figures: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory(prefix="trabecula-kill-") as name:
        if options.ledger != "postgresql":
            points = [point for point in asked if point != "the database"]
            figures["sqlite"] = run_matrix(Matrix(Path(name) / "sqlite", None), points, options.runs, options.seed, say=True)
        if options.ledger != "sqlite":
            with running_postgres() as server:
                matrix = Matrix(Path(name) / "postgresql", server, server.create())
                figures["postgresql"] = run_matrix(matrix, asked, options.runs, options.seed, say=True)
    print(json.dumps(figures, indent=2))  # noqa: T201
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
