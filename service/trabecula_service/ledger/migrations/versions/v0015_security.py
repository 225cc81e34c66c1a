"""Keys, sessions, and the audit trail, which is append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and triggers that refuse every change and removal of a line of the trail."""
    postgresql = op.get_bind().dialect.name == "postgresql"

    def text(length: int) -> sa.types.TypeEngine[str]:
        return sa.Text() if postgresql else sa.String(length=length)

    op.create_table(
        "api_keys",
        sa.Column("id", text(8), nullable=False),
        sa.Column("name", text(64), nullable=False),
        sa.Column("role", text(16), nullable=False),
        sa.Column("secret_sha256", text(64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("created_by", text(64), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_table(
        "sessions",
        sa.Column("token_sha256", text(64), nullable=False),
        sa.Column("name", text(64), nullable=False),
        sa.Column("role", text(16), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("key_id", text(8), nullable=True, comment="the key that opened it: revoked, it ends the session"),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_sessions_key_id")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_sessions")),
    )
    op.create_table(
        "logins",
        sa.Column("state_sha256", text(64), nullable=False),
        sa.Column("nonce", text(64), nullable=False),
        sa.Column("verifier", text(128), nullable=False),
        sa.Column("next_path", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("state_sha256", name=op.f("pk_logins")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger() if postgresql else sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("actor", text(64), nullable=False),
        sa.Column("role", text(16), nullable=False),
        sa.Column("via", text(16), nullable=False),
        sa.Column("address", text(64), nullable=False),
        sa.Column("action", text(16), nullable=False),
        sa.Column("study_id", text(32), nullable=False),
        sa.Column("outcome", text(16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("sha256", text(64), nullable=False, comment="of the hash of the row before and this row"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    if postgresql:
        op.execute("CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse_change()")
        return
    for what in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_no_{what.lower()} BEFORE {what} ON audit "
            "BEGIN SELECT RAISE(ABORT, 'audit is append-only: enter a new row'); END"
        )
