"""The list of a backfill; jobs counted by triggers, skipped studies by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    postgresql = op.get_bind().dialect.name == "postgresql"

    def text(length: int) -> sa.types.TypeEngine[str]:
        return sa.Text() if postgresql else sa.String(length=length)

    op.create_table(
        "backfill_studies",
        sa.Column("study_instance_uid", text(64), nullable=False),
        sa.Column("study_date", text(8), nullable=False),
        sa.Column("step", text(16), nullable=False, comment="listed, requested, fetched or failed"),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("study_instance_uid", name=op.f("pk_backfill_studies")),
    )
    op.create_index("ix_versions_state_code", "versions", ["state", "code"])
    op.execute("INSERT INTO tallies SELECT 'job', state, count(*) FROM jobs GROUP BY state")
    for statement in _POSTGRESQL if postgresql else _SQLITE:
        op.execute(statement)
    op.create_index("ix_backfill_studies_study_date_step", "backfill_studies", ["study_date", "step"])


def _count(state: str, by: str) -> str:
    return (
        f"INSERT INTO tallies (counted, name, count) VALUES ('job', {state}, {by}) "  # noqa: S608 - constants of this file
        "ON CONFLICT (counted, name) DO UPDATE SET count = tallies.count + excluded.count"
    )


_SQLITE = (
    f"CREATE TRIGGER jobs_tally_insert AFTER INSERT ON jobs BEGIN {_count('NEW.state', '1')}; END",
    f"CREATE TRIGGER jobs_tally_delete AFTER DELETE ON jobs BEGIN {_count('OLD.state', '-1')}; END",
    "CREATE TRIGGER jobs_tally_update AFTER UPDATE OF state ON jobs WHEN OLD.state <> NEW.state BEGIN "
    f"{_count('OLD.state', '-1')}; {_count('NEW.state', '1')}; END",
)
_POSTGRESQL = (
    "CREATE FUNCTION tally_jobs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    f"IF TG_OP <> 'INSERT' THEN {_count('OLD.state', '-1')}; END IF; "
    f"IF TG_OP <> 'DELETE' THEN {_count('NEW.state', '1')}; END IF; RETURN NULL; END $$",
    "CREATE TRIGGER jobs_tally AFTER INSERT OR DELETE OR UPDATE OF state ON jobs FOR EACH ROW EXECUTE FUNCTION tally_jobs()",
)
