"""Readers' verdicts, append-only, and what the work list sorts by."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_FILL_ATTENTION = """
UPDATE studies SET attention = 1 WHERE state IN ('measured', 'delivering', 'done') AND EXISTS (
  SELECT 1 FROM versions WHERE versions.study_id = studies.id AND versions.number = studies.latest_version AND result_json IS NOT NULL
)"""


def upgrade() -> None:
    """Make the table, with triggers that refuse every change, and the columns of the work list."""
    short = sa.String(length=16).with_variant(sa.Text(), "postgresql")
    op.add_column(
        "studies", sa.Column("attention", sa.Integer(), server_default="0", nullable=False, comment="as in ledger.reviews.Attention")
    )
    op.add_column(
        "studies",
        sa.Column("verdict", short, server_default="", nullable=False, comment="of the reader on the latest version; empty: none"),
    )
    op.create_index("ix_studies_verdict_attention_first_received_at_id", "studies", ["verdict", "attention", "first_received_at", "id"])
    op.execute(_FILL_ATTENTION)
    op.create_table(
        "reviews",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False, comment="the version that came of it"),
        sa.Column("base_version_id", sa.Integer(), nullable=False, comment="the version that the reader looked at"),
        sa.Column("verdict", short, nullable=False, comment="accepted, amended or rejected"),
        sa.Column("reader", sa.Text(), nullable=False, comment="name as it stands in the documents"),
        sa.Column("organization", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("edits_json", sa.Text(), nullable=False, comment="review.edits.Edits"),
        sa.Column("signed_at", sa.Float(), nullable=False),
        sa.Column("entered_by", sa.Text(), nullable=False, comment="page, api or the account that was logged in"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_reviews_version_id")),
        sa.ForeignKeyConstraint(["base_version_id"], ["versions.id"], name=op.f("fk_reviews_base_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
        sa.UniqueConstraint("version_id", name=op.f("uq_reviews_version_id")),
    )
    if op.get_bind().dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER reviews_no_{what.lower()} BEFORE {what} ON reviews "
                "BEGIN SELECT RAISE(ABORT, 'reviews is append-only: enter a new row'); END"
            )
    else:
        op.execute("CREATE TRIGGER reviews_append_only BEFORE UPDATE OR DELETE ON reviews FOR EACH ROW EXECUTE FUNCTION refuse_change()")
