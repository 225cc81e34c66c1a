"""What all tests share: where the real CT cases are, and the first line of the run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.postgres import PostgresServer, running_postgres


def shared_folder() -> Path | None:
    """The folder with real CT cases, or None where it is missing."""
    folder = Path(os.environ.get("TRABECULA_SHARED", Path(__file__).resolve().parents[1].parent / "shared"))
    return folder if (folder / "ct").is_dir() else None


def pytest_report_header(config: pytest.Config) -> str:
    """First line of the run: how many real cases there are."""
    del config
    folder = shared_folder()
    if folder is None:
        return "real CT: skipped (TRABECULA_SHARED names no folder with real CT cases)"
    cases = len([entry for entry in (folder / "ct").iterdir() if entry.is_dir()])
    return f"real CT: {cases} cases"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real CT cases; tests that need it skip where it is missing."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("real CT cases are not here (set TRABECULA_SHARED)")
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the whole run."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_database(postgres_server: PostgresServer) -> str:
    """Name of a database with an empty ledger of the newest schema, to be copied: migrating for each test would take most of the time."""
    from trabecula_service.ledger.database import open_ledger

    name = postgres_server.create()
    open_ledger(postgres_server.address(name)).close()
    return name


@pytest.fixture
def postgres_address(postgres_server: PostgresServer, migrated_database: str) -> Iterator[str]:
    """Address of a fresh ledger in PostgreSQL."""
    name = postgres_server.create(like=migrated_database)
    yield postgres_server.address(name)
    postgres_server.drop(name)
