"""The migrations make exactly the tables that the code uses."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from trabecula_service.ledger.database import Ledger
from trabecula_service.ledger.schema import metadata


def test_the_migrated_schema_is_the_schema_of_the_code(ledger: Ledger) -> None:
    with ledger.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_commits_are_synced_and_readers_do_not_wait(ledger: Ledger) -> None:
    with ledger.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
