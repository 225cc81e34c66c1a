"""Connections to a ledger in one SQLite file, in WAL mode."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

_BUSY_SECONDS = 30.0


def build(path: Path) -> tuple[Engine, Engine]:
    """The engines of writers and readers.

    A writer takes the write lock at once (BEGIN IMMEDIATE): one that reads first and writes later would be refused when another one
    wrote in between, and no waiting time covers that.
    """
    return _engine(path, begin="BEGIN IMMEDIATE"), _engine(path, begin="BEGIN DEFERRED")


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
