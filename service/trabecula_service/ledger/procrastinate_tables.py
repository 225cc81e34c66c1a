"""Procrastinate's own tables and functions in the ledger's PostgreSQL database, so that a job commits with the state that asks for it."""

from importlib import resources

from sqlalchemy import Connection, text


def bring_up(connection: Connection) -> None:
    """Make Procrastinate's schema, or bring it to the installed version; in the caller's transaction.

    Procrastinate ships one file per change and leaves it to the user to remember which were applied: the table here does.
    """
    connection.execute(text("CREATE TABLE IF NOT EXISTS procrastinate_applied (name text PRIMARY KEY)"))
    shipped = _shipped()
    applied = set(connection.execute(text("SELECT name FROM procrastinate_applied")).scalars())
    there = connection.execute(text("SELECT to_regclass('procrastinate_jobs') IS NOT NULL")).scalar_one()
    if not there:
        _run(connection, (resources.files("procrastinate.sql") / "schema.sql").read_text(encoding="utf-8"))
    else:
        for name in sorted(shipped.keys() - applied):
            _run(connection, shipped[name])
    for name in sorted(shipped.keys() - applied):
        connection.execute(text("INSERT INTO procrastinate_applied VALUES (:name)"), {"name": name})


def _shipped() -> dict[str, str]:
    folder = resources.files("procrastinate.sql.migrations")
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".sql")}


def _run(connection: Connection, script: str) -> None:
    # Without parameters psycopg takes many statements in one call.
    raw = connection.connection.dbapi_connection
    if raw is None:
        raise RuntimeError("the connection is closed")
    raw.cursor().execute(script)
