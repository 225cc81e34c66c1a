"""``./run bench workers``: how much sooner two workers on one PostgreSQL finish the same studies than one, each on a core of its own.

The analysis is a stand-in that takes a fixed time in one thread, so that the queue, the ledger and the files are what is compared: once of
the processor (real work, so the ratio falls where other programs take the cores), once of the clock (no processor, so it does not).
Studies are queued first; the time is from the first that runs to the last that is measured, from the ledger.

Options: ``--studies N`` (default 8), ``--seconds S`` of each analysis (default 5; real ones take longer), ``--rounds N`` (default 3),
``--kinds processor,clock``.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from sqlalchemy import func, select

from builders.postgres import PostgresServer, running_postgres
from builders.roles import Cluster, cluster
from builders.service import send, wait_ticks
from builders.small_ct import small_ct
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.schema import events

KINDS = {"processor": "builders.timed_analysis:of_the_processor", "clock": "builders.timed_analysis:of_the_clock"}


def measure(server: PostgresServer, kind: str, workers: int, studies: int) -> float:
    """Seconds until all studies are measured."""
    database = server.create()
    address = server.address(database)
    with tempfile.TemporaryDirectory(prefix="trabecula-workers-") as name:
        folder = Path(name)
        with cluster(folder, address, ("listen,api",), analysis=KINDS[kind]) as service:
            for _ in range(studies):
                send(service.processes[0].dicom_port, small_ct(slices=1))
            service.wait_for("queued", count=studies)
            _start_workers(service, workers)
            # Asked for seldom: the page must not take the workers' cores while they are timed.
            for _ in wait_ticks(600, pause=1.0):
                if all(row["state"] == "done" for row in service.studies()):
                    break
        seconds = _seconds_of_work(address)
    server.drop(database)
    return seconds


def _start_workers(service: Cluster, workers: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    started = service.start(*["work"] * workers)
    for number, worker in enumerate(started):
        # Its analyses are children of one of its threads and stay on its core.
        for thread in Path(f"/proc/{worker.process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {cores[number % len(cores)]})


def _seconds_of_work(address: str) -> float:
    ledger = Ledger(address)
    with ledger.read() as connection:
        begun = connection.execute(select(func.min(events.c.at)).where(events.c.to_state == "running")).scalar_one()
        ended = connection.execute(select(func.max(events.c.at)).where(events.c.to_state == "measured")).scalar_one()
    ledger.close()
    return float(ended) - float(begun)


def main() -> None:
    """One worker and two, in turns."""
    parser = argparse.ArgumentParser(prog="./run bench workers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", default="processor,clock")
    options = parser.parse_args()
    os.environ["TRABECULA_TEST_SECONDS"] = str(options.seconds)
    figures: dict[str, object] = {
        "studies": options.studies,
        "seconds_of_each": options.seconds,
        "load_before": round(os.getloadavg()[0], 1),
    }
    with running_postgres() as server:
        for kind in options.kinds.split(","):
            times: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(options.rounds):
                for workers in times:
                    times[workers].append(measure(server, kind, workers, options.studies))
            ratios = [one / two for one, two in zip(times[1], times[2], strict=True)]
            figures[kind] = {
                "one_s": [round(value, 1) for value in times[1]],
                "two_s": [round(value, 1) for value in times[2]],
                "ratio": round(statistics.median(ratios), 2),
            }
    figures["load_after"] = round(os.getloadavg()[0], 1)
    print(json.dumps(figures, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
