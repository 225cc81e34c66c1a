"""``./run bench receive``: how quickly objects are taken in, side by side with dcmtk's storescp and Orthanc, on one machine in one run.

The sender is the same for all, dcmtk's storescu with ``TCP_NODELAY=1``: 1, 4 and 16 of them at once, one association each, CT slices of
512 x 512 (532 kB). Ours and Orthanc sync each object to the disk before they answer; storescp neither syncs nor enters anything anywhere.
Everything runs in a network name space of its own (``unshare -n``), because the peers bind to every address.

Options: ``--objects N`` for each measurement (default 160), ``--associations 1,4,16``, ``--receivers trabecula,orthanc,storescp``,
``--processes N`` listener processes of ours, ``--rounds N`` (the median counts).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom import dcmwrite
from pydicom.uid import generate_uid

from builders.service import wait_ticks
from builders.small_ct import small_ct

ORTHANC_PORT, STORESCP_PORT = 24242, 24243
PDU_BYTES = 131072
FOLDERS = 16


def write_objects(folder: Path, count: int, *, rows: int = 512) -> None:
    """CT slices with noise in sixteen folders, one study each, all different."""
    random = np.random.default_rng(1)
    noise = random.integers(-1000, 1000, (rows, rows), dtype=np.int16)
    for number in range(FOLDERS):
        part = folder / f"{number:02d}"
        part.mkdir(parents=True)
        per_folder = count // FOLDERS + (1 if number < count % FOLDERS else 0)
        for index, dataset in enumerate(small_ct(slices=per_folder, study_uid=generate_uid(), PatientID=f"bench{number}")):
            dataset.Rows, dataset.Columns, dataset.PixelSpacing = rows, rows, [0.7, 0.7]
            dataset.PixelData = np.roll(noise, index, axis=0).tobytes()
            dcmwrite(part / f"{index:04d}.dcm", dataset, enforce_file_format=True)


def send_all(folder: Path, port: int, associations: int, called: str) -> float:
    """Seconds until every sender has its answers."""
    folders = sorted(folder.iterdir())
    shares = [folders[number::associations] for number in range(associations)]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    started = time.perf_counter()
    senders = [
        subprocess.Popen(
            ["storescu", "--max-pdu", str(PDU_BYTES), "-aec", called, "+sd", "127.0.0.1", str(port), *map(str, share)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        for share in shares
    ]
    for sender in senders:
        said, _ = sender.communicate(timeout=300)
        if sender.returncode:
            raise SystemExit(f"the sender failed: {said.decode(errors='replace')[-400:]}")
    return time.perf_counter() - started


_LISTEN = """
import os, sys, time
from pathlib import Path
from trabecula_service.ledger.database import open_ledger
from trabecula_service.receive.listener import Listener
from trabecula_service.receive.listener_group import ListenerGroup, ListenerTask
from trabecula_service.receive.object_store import ObjectStore
from trabecula_service.settings.log import LogSettings
from trabecula_service.settings.receive import ReceiveSettings
from trabecula_service.settings.storage import ObjectsSettings
if __name__ == "__main__":
    folder, processes = Path(sys.argv[1]), int(sys.argv[2])
    settings = ReceiveSettings(bind="127.0.0.1", port=0, max_associations=64, reserve_free_gib=0, processes=processes)
    ledger, store = open_ledger(folder / "ledger.sqlite"), ObjectStore(folder / "objects")
    task = ListenerTask(
        settings=settings, log=LogSettings(), ledger=ledger.where, objects=folder / "objects", shared=ObjectsSettings(), data=folder,
        run_id="b", parent=os.getpid(),
    )
    listener = ListenerGroup(task, ledger) if processes > 1 else Listener(settings, ledger, store, run_id="bench", data=folder)
    listener.start()
    time.sleep(8.0 if processes > 1 else 0.0)
    (folder / "port").write_text(str(listener.port))
    time.sleep(3600)
"""


@contextmanager
def trabecula(folder: Path, processes: int) -> Iterator[int]:
    """Our listener with its ledger, as ``trabecula listen`` runs it."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", _LISTEN, str(folder), str(processes)], stdout=log, stderr=log)
    try:
        for _ in wait_ticks(60):
            if (folder / "port").exists() and (folder / "port").read_text():
                break
            if process.poll() is not None:
                raise SystemExit((folder / "log").read_text())
        before = _cpu_seconds(process)
        yield int((folder / "port").read_text())
        _note_cpu(folder, _cpu_seconds(process) - before)
    finally:
        process.kill()
        process.wait()


@contextmanager
def orthanc(folder: Path, processes: int) -> Iterator[int]:
    """Orthanc with its defaults: SQLite index, storage synced (SyncStorageArea)."""
    del processes
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "DicomPort": ORTHANC_PORT,
        "HttpServerEnabled": False,
        "DicomCheckCalledAet": False,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomThreadsCount": 32,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(options))
    with _peer(["Orthanc", str(folder / "orthanc.json")], folder, ORTHANC_PORT):
        yield ORTHANC_PORT


@contextmanager
def storescp(folder: Path, processes: int) -> Iterator[int]:
    """dcmtk's receiver, one process for each association."""
    del processes
    out = folder / "out"
    out.mkdir(parents=True)
    with _peer(["storescp", "--fork", "+B", "-pdu", str(PDU_BYTES), "-od", str(out), str(STORESCP_PORT)], folder, STORESCP_PORT):
        yield STORESCP_PORT


@contextmanager
def _peer(command: list[str], folder: Path, port: int) -> Iterator[None]:
    with (folder / "peer.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TCP_NODELAY": "1"})
    try:
        for _ in wait_ticks(60):
            if subprocess.run(["echoscu", "127.0.0.1", str(port)], capture_output=True).returncode == 0:
                break
        before = _cpu_seconds(process)
        yield
        _note_cpu(folder, _cpu_seconds(process) - before)
    finally:
        process.kill()
        process.wait()


def _cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Processor seconds of a receiver and its children."""
    seconds = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if process.pid in (int(path.parent.name), int(fields[1])):
            seconds += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return seconds


def _note_cpu(folder: Path, seconds: float) -> None:
    (folder.parent / f"{folder.name}.cpu").write_text(str(seconds))


RECEIVERS: dict[str, Callable[..., object]] = {"trabecula": trabecula, "orthanc": orthanc, "storescp": storescp}


def measure(name: str, source: Path, work: Path, associations: int, count: int, processes: int) -> tuple[float, float]:
    """Objects a second, and processor milliseconds of the receiver for each (which a busy machine changes little)."""
    folder = work / f"{name}-{associations}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with RECEIVERS[name](folder, processes) as port:  # type: ignore[attr-defined]
        os.sync()
        rate = count / send_all(source, port, associations, "TRABECULA")
    shutil.rmtree(folder, ignore_errors=True)
    return rate, 1000.0 * float((work / f"{folder.name}.cpu").read_text()) / count


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench receive", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=160)
    parser.add_argument("--associations", default="1,4,16")
    parser.add_argument("--receivers", default="trabecula,orthanc,storescp")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    if os.environ.get("TRABECULA_BENCH_ALONE") != "yes":
        # The peers bind to every address, so the whole run gets loopback and nothing else.
        inner = f"ip link set lo up && TRABECULA_BENCH_ALONE=yes exec {sys.executable} -m bench.bench_receive " + " ".join(sys.argv[1:])
        raise SystemExit(subprocess.run(["unshare", "-n", "bash", "-c", inner], check=False).returncode)
    with tempfile.TemporaryDirectory(prefix="trabecula-bench-") as work:
        source = Path(work) / "source"
        write_objects(source, options.objects)
        rates: dict[str, dict[int, list[tuple[float, float]]]] = {}
        for _ in range(options.rounds):
            for associations in map(int, options.associations.split(",")):
                for name in options.receivers.split(","):
                    rate = measure(name, source, Path(work), associations, options.objects, options.processes)
                    rates.setdefault(name, {}).setdefault(associations, []).append(rate)
    figures = {
        name: {
            str(n): {
                "per_second": round(statistics.median(rate for rate, _ in values), 1),
                "cpu_ms": round(statistics.median(cpu for _, cpu in values), 1),
            }
            for n, values in by_n.items()
        }
        for name, by_n in rates.items()
    }
    print(json.dumps({"objects": options.objects, "rounds": options.rounds, **figures}, indent=2))  # noqa: T201
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
