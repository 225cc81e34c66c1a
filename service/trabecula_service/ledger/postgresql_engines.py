"""Connections to a ledger in PostgreSQL."""

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from trabecula_morphometry.errors import SettingsError

WRITE_LOCK = 0x7261_6265_6375
"""Key of the advisory lock that puts writers one after another; advisory locks are per database, so two ledgers never meet."""

_CONNECT = {
    "application_name": "trabecula",
    "connect_timeout": 10,
    # A machine that vanished without a word must not hold the write lock for hours.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "options": "-c lock_timeout=30s -c idle_in_transaction_session_timeout=60s -c synchronous_commit=on -c timezone=UTC",
}


def build(address: str) -> tuple[Engine, Engine]:
    """The engines of writers and readers, over one pool.

    Raises
    ------
    SettingsError
        The address cannot be understood, or the driver is not installed.
    """
    try:
        url = make_url(address).set(drivername="postgresql+psycopg")
        # A connection that broke with a restart of the server is replaced before it is used.
        engine = create_engine(url, connect_args=_CONNECT, pool_size=8, max_overflow=24, pool_pre_ping=True)
    except ArgumentError as error:
        raise SettingsError("the address of the ledger cannot be understood", where="ledger.postgresql", hint=_FORM) from error
    except ModuleNotFoundError as error:
        hint = 'pip install "trabecula[postgres]"'
        raise SettingsError("the driver for PostgreSQL is not installed", where="ledger.postgresql", hint=hint) from error
    writer = engine.execution_options(isolation_level="READ COMMITTED")
    reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @event.listens_for(writer, "begin")
    def _on_begin(connection: Connection) -> None:
        # Held to the end of the transaction; every later statement sees all that was committed before.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")

    @event.listens_for(writer, "before_cursor_execute", retval=True)
    def _on_execute(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> tuple[str, Any]:
        return statement, [_without_nul(row) for row in parameters] if many else _without_nul(parameters)

    return writer, reader


_FORM = 'write "postgresql://user@host:5432/database"'


def _without_nul(values: Any) -> Any:
    # A header may hold NUL characters; PostgreSQL cannot store them in a text, and the object must not be refused for that.
    if isinstance(values, dict):
        return {key: value.replace("\x00", "") if isinstance(value, str) else value for key, value in values.items()}
    return values
