"""A fresh ledger for each test."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trabecula_service.ledger.database import Ledger, open_ledger


@pytest.fixture(scope="session")
def empty_ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger of the newest schema; migrating anew for each test would take most of the time."""
    path = tmp_path_factory.mktemp("ledger") / "empty.sqlite"
    open_ledger(path).close()
    return path


@pytest.fixture
def ledger(tmp_path: Path, empty_ledger_file: Path) -> Iterator[Ledger]:
    path = tmp_path / "ledger.sqlite"
    shutil.copy(empty_ledger_file, path)
    opened = Ledger(path)
    yield opened
    opened.close()


@pytest.fixture
def run_in_thread() -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Start a function beside the test; the answer waits for its end and raises what it raised."""

    def start(function: Callable[[], None]) -> Callable[[], None]:
        pool = ThreadPoolExecutor(max_workers=1)
        future = pool.submit(function)
        return lambda: future.result(timeout=60)

    return start
