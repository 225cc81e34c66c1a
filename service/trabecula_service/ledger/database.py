"""The ledger's database: one SQLite file in WAL mode, writers one after another, readers never in the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event

_BUSY_SECONDS = 30.0


class Ledger:
    """Transactions on the ledger.

    ``write()`` takes the write lock at once (BEGIN IMMEDIATE): a transaction that reads first and writes later would otherwise be
    refused when another one wrote in between, and no waiting time covers that. Commits are synced to the disk before they return
    (synchronous FULL), because the sender deletes its copy on our word.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = _engine(path, begin="BEGIN IMMEDIATE")
        self._reader = _engine(path, begin="BEGIN DEFERRED")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: committed at the end, rolled back on an exception."""
        with self._writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view that writes nothing."""
        with self._reader.connect() as connection:
            yield connection

    def close(self) -> None:
        """Give all connections back."""
        self._writer.dispose()
        self._reader.dispose()


def open_ledger(path: Path) -> Ledger:
    """Open the ledger, made or brought to the newest schema first."""
    ledger = Ledger(path)
    migrate(ledger)
    return ledger


def migrate(ledger: Ledger, revision: str = "head") -> None:
    """Bring the schema to a revision, in one transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with ledger.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _engine(path: Path, *, begin: str) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": _BUSY_SECONDS}, pool_size=32, max_overflow=32)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by its own rules; SQLAlchemy's begin event below does it.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
