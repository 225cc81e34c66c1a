"""``./run bench memory``: whether the listener's memory stays flat while tens of thousands of objects come in.

Small objects (8 x 8 pixels) are put on the wire over four associations at a time, a thousand on each, without waiting for answers. The
resident memory is told after every tenth of them; what the first tenth takes for caches and pools is no growth.

Options: ``--objects N`` (default 20000).
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.dsutils import encode

from bench.bench_fuzz import _LISTEN, _rss_mib
from builders.service import wait_ticks
from builders.small_ct import small_ct
from builders.wire import RELEASE, WireObject, associate, message, store_command
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.queries import count_instances

AT_ONCE, ON_EACH = 4, 1000
MOST_GROWTH_MIB = 64.0


def stream_of(number: int, count: int) -> bytes:
    """A whole association with the slices of one study, all under one context."""
    out = []
    for index, dataset in enumerate(small_ct(slices=count, PatientID=f"memory{number}")):
        data_set = encode(dataset, False, True) or b""
        item = WireObject(str(CTImageStorage), str(dataset.SOPInstanceUID), str(ExplicitVRLittleEndian), data_set)
        if not out:
            out.append(associate([item]))
        out.append(message(1, store_command(item, index % 65535 + 1), data_set))
    return b"".join(out) + RELEASE


def send_stream(port: int, stream: bytes) -> None:
    """Send and read answers side by side, so that neither end waits for the other."""
    with socket.create_connection(("127.0.0.1", port), timeout=300) as connection, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(_drain, connection)
        connection.sendall(stream)
        reading.result()


def _drain(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def run_memory(folder: Path, objects: int) -> dict[str, object]:
    """Resident memory of the listener along the way, and what it kept."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", _LISTEN, str(folder)], stdout=log, stderr=log, env={**os.environ})
    try:
        for _ in wait_ticks(120):
            if (folder / "port").exists() and (folder / "port").read_text():
                break
        port, started = int((folder / "port").read_text()), time.monotonic()
        on_each = min(ON_EACH, max(1, objects // (10 * AT_ONCE)))
        memory, sent = list[float](), 0
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while sent < objects:
                streams = [stream_of(sent + n, on_each) for n in range(AT_ONCE)]
                list(pool.map(lambda stream: send_stream(port, stream), streams))
                sent += AT_ONCE * on_each
                memory.append(round(_rss_mib(process.pid), 1))
        seconds = time.monotonic() - started
        ledger = Ledger(folder / "ledger.sqlite")
        with ledger.read() as connection:
            kept = count_instances(connection)["ct"]
        ledger.close()
        grown = round(memory[-1] - memory[max(0, len(memory) // 10)], 1)
        return {"sent": sent, "kept": kept, "per_second": round(sent / seconds, 1), "rss_mib": memory, "grown_mib": grown}
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trabecula-memory-") as name:
        figures = run_memory(Path(name), options.objects)
    print(json.dumps(figures, indent=2))  # noqa: T201
    if figures["kept"] != figures["sent"] or float(str(figures["grown_mib"])) > MOST_GROWTH_MIB:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
