"""Parcels are counted as they change: counting them took half a second where there are a million."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Count what is there, then follow every change."""
    op.execute("INSERT INTO tallies SELECT 'parcel', state || ' ' || destination, count(*) FROM deliveries GROUP BY state, destination")
    for statement in _POSTGRESQL if op.get_bind().dialect.name == "postgresql" else _SQLITE:
        op.execute(statement)


def _count(row: str, by: str) -> str:
    # A state has no blank, so the name can be parted again.
    return (
        f"INSERT INTO tallies (counted, name, count) VALUES ('parcel', {row}.state || ' ' || {row}.destination, {by}) "  # noqa: S608 - constants of this file
        "ON CONFLICT (counted, name) DO UPDATE SET count = tallies.count + excluded.count"
    )


_SQLITE = (
    f"CREATE TRIGGER deliveries_tally_insert AFTER INSERT ON deliveries BEGIN {_count('NEW', '1')}; END",
    f"CREATE TRIGGER deliveries_tally_delete AFTER DELETE ON deliveries BEGIN {_count('OLD', '-1')}; END",
    "CREATE TRIGGER deliveries_tally_update AFTER UPDATE OF state ON deliveries WHEN OLD.state <> NEW.state BEGIN "
    f"{_count('OLD', '-1')}; {_count('NEW', '1')}; END",
)
_POSTGRESQL = (
    "CREATE FUNCTION tally_parcels() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    f"IF TG_OP <> 'INSERT' THEN {_count('OLD', '-1')}; END IF; "
    f"IF TG_OP <> 'DELETE' THEN {_count('NEW', '1')}; END IF; RETURN NULL; END $$",
    "CREATE TRIGGER deliveries_tally AFTER INSERT OR DELETE OR UPDATE OF state ON deliveries FOR EACH ROW EXECUTE FUNCTION tally_parcels()",
)
