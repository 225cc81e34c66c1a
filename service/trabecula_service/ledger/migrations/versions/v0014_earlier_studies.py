"""Earlier studies of a patient are found by an index: each analysis asks for them."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_studies_patient_key", "studies", ["patient_key"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_studies_patient_key", "studies")
