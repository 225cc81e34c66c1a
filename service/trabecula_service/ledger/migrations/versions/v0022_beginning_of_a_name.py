"""The beginning of a name is found by an index on PostgreSQL too."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Order the index by the codes of the letters; on SQLite it is."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("ix_studies_patient_name", "studies")
        op.create_index("ix_studies_patient_name", "studies", ["patient_name"], postgresql_ops={"patient_name": "text_pattern_ops"})
