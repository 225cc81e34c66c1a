"""The calibration registry: entries and QA checks, append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = ("calibration_entries", "calibration_checks")


def upgrade() -> None:
    """Make the tables, and triggers that refuse every change and removal."""
    op.create_table(
        "calibration_entries",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column(
            "toml", sa.Text(), nullable=False, comment="the entry as one [[entry]] table; never changed, a correction is a new entry"
        ),
        sa.Column("entered_at", sa.Float(), nullable=False),
        sa.Column("entered_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibration_entries")),
        sa.UniqueConstraint("content_sha256", name=op.f("uq_calibration_entries_content_sha256")),
    )
    op.create_table(
        "calibration_checks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("entry_id", sa.String(length=128), nullable=False),
        sa.Column("on_day", sa.String(length=10), nullable=False, comment="day of the QA scan, ISO 8601"),
        sa.Column("reading_mg_cm3", sa.Float(), nullable=False, comment="what the entry's line read of 120 mg/cm3"),
        sa.Column("entered_at", sa.Float(), nullable=False),
        sa.Column("entered_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["calibration_entries.id"], name=op.f("fk_calibration_checks_entry_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibration_checks")),
    )
    op.create_index(op.f("ix_calibration_checks_entry_id"), "calibration_checks", ["entry_id"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        for table in _TABLES:
            for what in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: enter a new row'); END"
                )
