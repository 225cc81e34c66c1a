"""Starts the service, or one role of it, so that it kills itself (SIGKILL) at a named point of its work.

``python -m builders.kill_points CONFIG ROLE``: ROLE is "serve" or "listen", "work", "deliver". The file that ``TRABECULA_TEST_KILL`` names
holds "POINT:SKIP"; the process that reaches POINT for the SKIP+1-th time takes the file away and dies. The product knows nothing of it:
its functions are wrapped from here. Waits of minutes that only matter between machines are shortened.
"""

import importlib
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Any

RECEIVE, QUEUE, DELIVER = "trabecula_service.receive", "trabecula_service.queue", "trabecula_service.deliver"

POINTS: dict[str, tuple[str, str, str, str]] = {
    # name: role, module, attribute, when
    "object begun": ("listen", f"{RECEIVE}.object_store", "ObjectStore.begin", "after"),
    "object written": ("listen", f"{RECEIVE}.object_store", "ObjectWriter.place", "before"),
    "object placed, row not committed": ("listen", f"{RECEIVE}.object_store", "ObjectWriter.place", "after"),
    "row committed, not answered": ("listen", f"{RECEIVE}.storing", "Intaker.keep", "after"),
    "association ending": ("listen", f"{RECEIVE}.listener", "close_association", "before"),
    "settled, not committed": ("listen", f"{RECEIVE}.completion", "_settle", "after"),
    "leased": ("work", f"{QUEUE}.worker", "Worker._work", "before"),
    "analysis running": ("work", f"{QUEUE}.worker", "Worker._tick", "before"),
    "analysis done": ("work", f"{QUEUE}.worker", "keep_files", "before"),
    "files kept": ("work", f"{QUEUE}.worker", "keep_files", "after"),
    "result written, not committed": ("work", f"{QUEUE}.worker", "Worker._write_end", "after"),
    "result committed": ("work", f"{QUEUE}.worker", "Worker._conclude", "after"),
    "parcel taken": ("deliver", f"{DELIVER}.deliverer", "Deliverer._hand_over", "before"),
    "destination has it, ledger does not know": ("deliver", f"{DELIVER}.deliverer", "Deliverer._hand_over", "after"),
    "delivered, not committed": ("deliver", f"{DELIVER}.deliverer", "mark_delivered", "after"),
    "delivered, committed": ("deliver", f"{DELIVER}.deliverer", "Deliverer._write_down", "after"),
}

_lock = Lock()
_passed: dict[str, int] = {}


def resolve(point: str) -> tuple[Any, str, Callable[..., Any]]:
    """Where the function of a point is kept, its name there, and itself."""
    _, module, path, _ = POINTS[point]
    holder: Any = importlib.import_module(module)
    *owners, name = path.split(".")
    for owner in owners:
        holder = getattr(holder, owner)
    return holder, name, getattr(holder, name)


def _die_here(point: str, control: Path) -> None:
    try:
        wanted, _, skip = control.read_text().rpartition(":")
    except OSError:
        return
    if wanted != point:
        return
    with _lock:
        _passed[point] = _passed.get(point, 0) + 1
        if _passed[point] <= int(skip):
            return
        control.rename(control.with_suffix(".done"))
        os.kill(os.getpid(), signal.SIGKILL)


def _wrap(point: str, control: Path) -> None:
    holder, name, function = resolve(point)
    when = POINTS[point][3]

    @wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        if when == "before":
            _die_here(point, control)
        result = function(*arguments, **options)
        if when == "after":
            _die_here(point, control)
        return result

    setattr(holder, name, wrapped)


def main(config: Path, role: str) -> None:
    """Run until killed or told to stop."""
    from builders.service import FAKE_ANALYSIS
    from trabecula_service import bootstrap
    from trabecula_service.bootstrap import Role, Service
    from trabecula_service.ledger import outbox, presence
    from trabecula_service.ops.logs import set_up_logs
    from trabecula_service.settings.read import read_settings

    presence.SILENCE_SECONDS, outbox.SENDING_SECONDS, bootstrap._PRESENCE_SECONDS = 5.0, 5.0, 0.5
    for point in POINTS:
        _wrap(point, Path(os.environ["TRABECULA_TEST_KILL"]))
    settings = read_settings(config)
    set_up_logs(settings.log)
    roles = frozenset(Role) if role == "serve" else frozenset({Role(role)})
    Service(settings, roles=roles, analysis=FAKE_ANALYSIS).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
