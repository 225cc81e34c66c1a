"""``./run bench fuzz``: malformed associations, messages and data sets against a listener in a process of its own.

Real objects (the odd ones of the shared cases where they are here, else small made ones) are put on the wire and spoiled by a seeded
chance: the whole stream, the command, or only the data set, which then is stored and filed. The listener must not die, not hang, not
grow, and answer a C-ECHO all the while; at the end no association may be open and every study must settle.

Options: ``--inputs N`` (default 10000), ``--seed N``.
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
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import Verification
from sqlalchemy import func, select

from builders.service import wait_ticks
from builders.small_ct import small_ct
from builders.wire import WireObject, associate, message, spoil, store_command, whole_association
from conftest import shared_folder
from trabecula_service import requestor
from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.schema import associations, versions
from trabecula_service.queue.lease_table import LeaseTable
from trabecula_service.receive.completion import settle_due
from trabecula_service.settings.receive import SeriesSettings

MOST_GROWTH_MIB = 150.0
ECHO_EVERY = 50
LONGEST_ANSWER_SECONDS = 30.0
MOST_DATA_SET_BYTES = 600_000

_LISTEN = """
import sys, time
from pathlib import Path
from trabecula_service.ledger.database import open_ledger
from trabecula_service.receive.listener import Listener
from trabecula_service.receive.object_store import ObjectStore
from trabecula_service.settings.receive import ReceiveSettings
folder = Path(sys.argv[1])
settings = ReceiveSettings(bind="127.0.0.1", port=0, reserve_free_gib=0, idle_seconds=5)
listener = Listener(settings, open_ledger(folder / "ledger.sqlite"), ObjectStore(folder / "objects"), run_id="fuzz", data=folder)
listener.start()
(folder / "port").write_text(str(listener.port))
time.sleep(36000)
"""


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    inputs: int
    alive: bool
    echoes: int
    slowest_input_seconds: float
    grown_mib: float
    threads_left: int
    open_associations: int
    objects: dict[str, int]
    not_settled: int


def real_objects() -> list[WireObject]:
    """Objects to start from."""
    shared = shared_folder()
    if shared is None or not (shared / "ct" / "odd.zip").exists():
        return [_wire(dataset) for dataset in small_ct(slices=5)]
    found = []
    with ZipFile(shared / "ct" / "odd.zip") as odd:
        for name in odd.namelist():
            content = odd.read(name)
            if content[128:132] == b"DICM":
                found += _from_file(content)
    return found or [_wire(dataset) for dataset in small_ct(slices=5)]


def _wire(dataset: object) -> WireObject:
    data_set = encode(dataset, False, True) or b""  # type: ignore[arg-type]
    return WireObject(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), str(ExplicitVRLittleEndian), data_set)  # type: ignore[attr-defined]


def _from_file(content: bytes) -> list[WireObject]:
    try:
        meta = dcmread(BytesIO(content), specific_tags=["SOPInstanceUID"]).file_meta
        start = 144 + int(meta.FileMetaInformationGroupLength)
        uids = (str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID), str(meta.TransferSyntaxUID))
        return [WireObject(*uids, content[start : start + MOST_DATA_SET_BYTES])]
    # Odd on purpose.
    except Exception:
        return []


def spoiled_stream(objects: Sequence[WireObject], chance: random.Random) -> bytes:
    """One input: what is spoiled is drawn too."""
    item = chance.choice(objects)
    # A name of its own for each, of the same length in command and data set, or all would be repeats of the first.
    name = item.sop_instance_uid[:-4] + f"{chance.randrange(10_000):04d}"
    data_set = item.data_set.replace(item.sop_instance_uid.encode(), name.encode())
    item = WireObject(item.sop_class_uid, name, item.transfer_syntax_uid, data_set)
    match chance.randrange(4):
        case 0:
            return spoil(whole_association([item]), chance)
        case 1:
            return associate([item]) + message(1, spoil(store_command(item, 1), chance), item.data_set)
        case 2:
            return associate([item]) + message(1, store_command(item, 1), spoil(item.data_set, chance))
        case _:
            return associate([item]) + spoil(message(1, store_command(item, 1), item.data_set), chance)


def run_fuzz(folder: Path, inputs: int, seed: int) -> Outcome:
    """All inputs, one after the other."""
    chance, objects = random.Random(seed), real_objects()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", _LISTEN, str(folder)], stdout=log, stderr=log, env={**os.environ})
    try:
        for _ in wait_ticks(120):
            if (folder / "port").exists() and (folder / "port").read_text():
                break
        port = int((folder / "port").read_text())
        echoes, slowest = int(_echo(port)), 0.0
        before, threads = _rss_mib(process.pid), _threads(process.pid)
        for number in range(inputs):
            started = time.monotonic()
            _throw(port, spoiled_stream(objects, chance))
            slowest = max(slowest, time.monotonic() - started)
            if number % ECHO_EVERY == 0:
                echoes += _echo(port)
                if number == ECHO_EVERY * 4:
                    # What caches and pools take at first is no growth.
                    before = _rss_mib(process.pid)
        ledger = Ledger(folder / "ledger.sqlite")
        for _ in wait_ticks(30):
            with ledger.read() as connection:
                still_open = connection.execute(select(func.count()).select_from(associations).where(associations.c.closed_at.is_(None)))
                open_associations = int(still_open.scalar_one())
            if open_associations == 0 and _threads(process.pid) <= threads + 40:
                break
        alive = process.poll() is None
        grown, left = _rss_mib(process.pid) - before, _threads(process.pid) - threads
        counts, waiting = _settled(ledger)
        ledger.close()
        return Outcome(inputs, alive, echoes, round(slowest, 2), round(grown, 1), left, open_associations, counts, waiting)
    finally:
        process.kill()
        process.wait()


def _throw(port: int, stream: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=LONGEST_ANSWER_SECONDS) as connection:
        try:
            connection.sendall(stream)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except TimeoutError:
            raise
        except OSError:
            # Hung up on, as it deserved.
            return


def _echo(port: int) -> bool:
    association = requestor.associate(
        AE(ae_title="SCANNER"), "127.0.0.1", port, contexts=[build_context(Verification)], ae_title="TRABECULA"
    )
    answered = association.is_established and association.send_c_echo().get("Status") == 0
    if association.is_established:
        association.release()
    return bool(answered)


def _settled(ledger: Ledger) -> tuple[dict[str, int], int]:
    from trabecula_service.ledger.queries import count_instances

    with ledger.write() as connection:
        settle_due(connection, LeaseTable(lease_seconds=60.0), SeriesSettings(quiet_seconds=0.001), time.time() + 10_000.0)
    with ledger.read() as connection:
        waiting = connection.execute(select(func.count()).select_from(versions).where(versions.c.state == "receiving")).scalar_one()
        return {kind: count for kind, count in count_instances(connection).items() if count}, int(waiting)


def _rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trabecula-fuzz-") as name:
        outcome = run_fuzz(Path(name), options.inputs, options.seed)
    print(json.dumps(asdict(outcome), indent=2))  # noqa: T201
    if not outcome.alive or outcome.grown_mib > MOST_GROWTH_MIB or outcome.open_associations or outcome.not_settled:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
