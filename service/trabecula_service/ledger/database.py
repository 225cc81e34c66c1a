"""The ledger's transactions: a SQLite file for one machine, PostgreSQL for many; the same tables and the same promises on both.

Writers come one after another on both databases, readers are never in the way of either (docs/adr/0013).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import OperationalError

from trabecula_morphometry.errors import SettingsError
from trabecula_service.ledger import postgresql_engines, sqlite_engines
from trabecula_service.ledger.procrastinate_tables import bring_up
from trabecula_service.settings.storage import LedgerSettings

_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 1.0


class Ledger:
    """Transactions on the ledger.

    Parameters
    ----------
    where : a SQLite file, or the address of a PostgreSQL database (``postgresql://user@host/name``).

    ``write()`` waits for its turn before its first statement: a transaction that reads first and writes later would otherwise decide
    on what another one has changed meanwhile. Commits are on the disk before they return, because the sender deletes its copy on our
    word.
    """

    def __init__(self, where: Path | str) -> None:
        self.where = where
        engines = sqlite_engines.build(where) if isinstance(where, Path) else postgresql_engines.build(where)
        self._writer, self._reader = engines

    @property
    def is_shared(self) -> bool:
        """Whether processes on other machines may use it too."""
        return not isinstance(self.where, Path)

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


def database_now(connection: Connection) -> float:
    """Seconds since 1970 by the one clock that all processes on this ledger share: the database server's, or this machine's."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    return time.time()


def ledger_place(settings: LedgerSettings, data: Path) -> Path | str:
    """Where the settings keep the ledger, for ``open_ledger``; with the password of the database's user, so never for a log.

    Raises
    ------
    SettingsError
        The password file cannot be read.
    """
    if settings.postgresql is None:
        return data.absolute() / "ledger.sqlite"
    url = make_url(settings.postgresql)
    if settings.password_file is not None:
        try:
            url = url.set(password=settings.password_file.read_text(encoding="utf-8").strip())
        except OSError as error:
            where = f"ledger.password_file = {settings.password_file}"
            raise SettingsError("the password file cannot be read", where=where, hint=error.strerror or "") from error
    return url.render_as_string(hide_password=False)


def open_ledger(where: Path | str, *, may_migrate: bool = True, patience_seconds: float = _PATIENCE_SECONDS) -> Ledger:
    """Open the ledger, made or brought to the newest schema first.

    Parameters
    ----------
    may_migrate : if False, the schema must be the newest one already (``trabecula migrate`` makes it so).
    patience_seconds : how long to wait for a database server that is not there yet.

    Raises
    ------
    SettingsError
        The database cannot be reached, the ledger is of a newer version of this program, or it is older and must not be changed.
    """
    ledger = Ledger(where)
    try:
        _wait_for_server(ledger, patience_seconds)
        if may_migrate:
            migrate(ledger)
        elif current_revision(ledger) != newest_revision():
            hint = "run `trabecula migrate` with the same settings, or set ledger.migrate = true"
            raise SettingsError("the ledger is not of this program's schema", where="ledger", hint=hint)
    except BaseException:
        ledger.close()
        raise
    return ledger


def migrate(ledger: Ledger, revision: str = "head") -> None:
    """Bring the schema to a revision, in one transaction.

    Raises
    ------
    SettingsError
        The ledger was made by a newer version of this program.
    """
    config = _config()
    with ledger.write() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            hint = "start the newer version again, or restore the backup that was made before it"
            raise SettingsError("the ledger was made by a newer version of this program", where="ledger", hint=hint) from error
        if ledger.is_shared and revision == "head":
            bring_up(connection)


def revisions() -> list[str]:
    """All revisions of the schema, the oldest first."""
    return [script.revision for script in reversed(list(ScriptDirectory.from_config(_config()).walk_revisions()))]


def newest_revision() -> str:
    """The revision that this program works with."""
    return revisions()[-1]


def current_revision(ledger: Ledger) -> str | None:
    """The revision that the ledger has; None before the first."""
    from alembic.migration import MigrationContext

    with ledger.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _wait_for_server(ledger: Ledger, patience_seconds: float) -> None:
    end = time.monotonic() + patience_seconds
    while ledger.is_shared:
        try:
            with ledger.read() as connection:
                connection.execute(text("SELECT 1"))
            return
        except OperationalError as error:
            if time.monotonic() >= end:
                # The driver's text names host, port and user, never a password.
                reason = str(error.orig).strip().splitlines()[0] if error.orig else type(error).__name__
                raise SettingsError("the ledger's database cannot be reached", where="ledger.postgresql", hint=reason) from error
            time.sleep(_PAUSE_SECONDS)
