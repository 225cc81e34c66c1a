"""Which documents a PACS has taken and was asked to promise to keep."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("deliveries", "state", comment="pending, sending, stored (to be confirmed), delivered, failed or cancelled")
    what = "of what the destination took, where it is asked to confirm"
    op.add_column("deliveries", sa.Column("sop_class_uid", sa.Text(), server_default="", nullable=False, comment=what))
    op.add_column("deliveries", sa.Column("sop_instance_uid", sa.Text(), server_default="", nullable=False))
    how_often = "how often it was asked whether it keeps the document"
    op.add_column("deliveries", sa.Column("asks", sa.Integer(), server_default="0", nullable=False, comment=how_often))
    op.create_table(
        "commitment_asks",
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name=op.f("fk_commitment_asks_delivery_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("transaction_uid", "delivery_id", name=op.f("pk_commitment_asks")),
    )
    op.create_index("ix_commitment_asks_delivery_id", "commitment_asks", ["delivery_id"])
