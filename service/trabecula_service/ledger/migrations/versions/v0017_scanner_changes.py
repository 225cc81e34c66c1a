"""Changes of scanners that end their calibration, append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_TABLE = "calibration_changes"


def upgrade() -> None:
    """Make the table, and triggers that refuse every change and removal."""
    op.create_table(
        _TABLE,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("manufacturer", sa.Text(), nullable=False),
        sa.Column("device_serial", sa.Text(), nullable=False),
        sa.Column(
            "on_day", sa.String(length=10).with_variant(sa.Text(), "postgresql"), nullable=False, comment="day of the change, ISO 8601"
        ),
        sa.Column("what", sa.Text(), nullable=False, comment="new tube, new software ..."),
        sa.Column("entered_at", sa.Float(), nullable=False),
        sa.Column("entered_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{_TABLE}")),
    )
    if op.get_bind().dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {_TABLE}_no_{what.lower()} BEFORE {what} ON {_TABLE} "
                f"BEGIN SELECT RAISE(ABORT, '{_TABLE} is append-only: enter a new row'); END"
            )
    else:
        op.execute(f"CREATE TRIGGER {_TABLE}_append_only BEFORE UPDATE OR DELETE ON {_TABLE} FOR EACH ROW EXECUTE FUNCTION refuse_change()")
