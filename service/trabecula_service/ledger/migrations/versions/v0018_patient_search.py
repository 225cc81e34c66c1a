"""A patient is found by an index, and so is what was signed last."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_INDEXES = (
    ("ix_studies_verdict_first_received_at_id", ["verdict", "first_received_at", "id"]),
    ("ix_studies_patient_name", ["patient_name"]),
    ("ix_studies_patient_id", ["patient_id"]),
    ("ix_studies_accession_number", ["accession_number"]),
)


def upgrade() -> None:
    """Make the indexes."""
    for name, columns in _INDEXES:
        op.create_index(name, "studies", columns)
