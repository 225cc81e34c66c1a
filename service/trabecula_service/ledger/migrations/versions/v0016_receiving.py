"""Receiving: how many objects a study was announced with, and requests for storage commitment."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the table."""
    comment = "as the sender wrote into an object (0020,1208); NULL: not said"
    op.add_column("studies", sa.Column("announced_objects", sa.Integer(), nullable=True, comment=comment))
    op.create_table(
        "commitments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("calling_ae_title", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.Column("objects", sa.Text(), nullable=False, comment="JSON list of pairs: SOP class, SOP instance"),
        sa.Column("state", sa.Text(), nullable=False, comment="pending, reported or failed"),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("available_at", sa.Float(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitments")),
    )
    op.create_index("ix_commitments_state_available_at", "commitments", ["state", "available_at"])
