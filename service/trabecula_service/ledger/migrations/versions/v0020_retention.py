"""What was deleted after the retention time, and since when images are held."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table; everything that was received so far is there."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    op.add_column("studies", sa.Column("held_since", sa.Float(), comment="since when we hold images of it; NULL: none"))
    op.add_column("studies", sa.Column("images_deleted_at", sa.Float(), comment="NULL: all received images are there"))
    op.execute("UPDATE studies SET held_since = first_received_at")
    op.create_index("ix_studies_held_since_id", "studies", ["held_since", "id"])
    op.add_column("instances", sa.Column("deleted_at", sa.Float(), comment="NULL: its bytes are there"))
    op.add_column("documents", sa.Column("deleted_at", sa.Float(), comment="NULL: its bytes are there"))
    op.create_table(
        "deletions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Text() if postgresql else sa.String(length=32), nullable=False),
        sa.Column("decided_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float(), comment="NULL: files may still be there"),
        sa.Column("objects", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger() if postgresql else sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_deletions_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deletions")),
    )
    op.create_index("ix_deletions_finished_at", "deletions", ["finished_at"])
    op.create_index("ix_audit_study_id", "audit", ["study_id"])
