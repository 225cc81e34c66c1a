"""The first ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "associations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False, comment="the run of the service that served it"),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("closed_at", sa.Float(), nullable=True),
        sa.Column("end", sa.String(length=16), server_default="open", nullable=False, comment="open, released, aborted, lost or restart"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_associations")),
    )
    op.create_table(
        "refused_callers",
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("calling_ae_title", "address", name=op.f("pk_refused_callers")),
    )
    op.create_table(
        "studies",
        sa.Column(
            "id", sa.String(length=32), nullable=False, comment="our own random name of the study: the one that appears in addresses"
        ),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column(
            "patient_key", sa.String(length=64), nullable=False, comment="hash of the patient's identifier: one study has one patient"
        ),
        sa.Column("patient_name", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("accession_number", sa.Text(), nullable=False),
        sa.Column("study_date", sa.String(length=16), nullable=False),
        sa.Column("study_description", sa.Text(), nullable=False),
        sa.Column("first_received_at", sa.Float(), nullable=False),
        sa.Column("latest_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("study_instance_uid", name=op.f("uq_studies_study_instance_uid")),
    )
    op.create_index(op.f("ix_studies_first_received_at"), "studies", ["first_received_at"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("study_id", sa.String(length=32), nullable=True),
        sa.Column("version_number", sa.Integer(), nullable=True),
        sa.Column("actor", sa.String(length=32), nullable=False),
        sa.Column("from_state", sa.String(length=16), server_default="", nullable=False),
        sa.Column("to_state", sa.String(length=16), server_default="", nullable=False, comment="empty for a note that changes no state"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_events_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_study_id_id", "events", ["study_id", "id"], unique=False)
    op.create_table(
        "instances",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=128), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=128), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("study_id", sa.String(length=32), nullable=True, comment="NULL: set aside, part of no study"),
        sa.Column(
            "first_version",
            sa.Integer(),
            nullable=True,
            comment="first version of the study that it belongs to; NULL: not an input of the analysis",
        ),
        sa.Column("association_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="ct, other, own_result, unreadable or conflict"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False, comment="of the data set and its transfer syntax; its name on the disk"),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("repeats", sa.Integer(), server_default="0", nullable=False, comment="how often the same bytes came again"),
        sa.ForeignKeyConstraint(["association_id"], ["associations.id"], name=op.f("fk_instances_association_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_instances_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
    )
    op.create_index("ix_instances_kind", "instances", ["kind"], unique=False)
    op.create_index("ix_instances_study_id_kind", "instances", ["study_id", "kind"], unique=False)
    op.create_index(
        "uq_instances_one_content", "instances", ["sop_instance_uid"], unique=True, sqlite_where=sa.text("kind IN ('ct', 'other')")
    )
    op.create_index("uq_instances_sop_instance_uid_sha256", "instances", ["sop_instance_uid", "sha256"], unique=True)
    op.create_table(
        "versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="why it is in this state, for people; never empty"),
        sa.Column("state_since", sa.Float(), nullable=False),
        sa.Column("first_object_at", sa.Float(), nullable=False),
        sa.Column("last_activity_at", sa.Float(), nullable=False),
        sa.Column("result_time_at", sa.Float(), nullable=True, comment="date and time that the documents carry, the same in every attempt"),
        sa.Column("progress", sa.Text(), server_default="", nullable=False),
        sa.Column("code", sa.String(length=32), server_default="", nullable=False, comment="code of a study that could not be evaluated"),
        sa.Column("headline", sa.Text(), server_default="", nullable=False),
        sa.Column("result_json", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_versions_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_versions")),
    )
    op.create_index("ix_versions_state_study_id", "versions", ["state", "study_id"], unique=False)
    op.create_index("uq_versions_study_id_number", "versions", ["study_id", "number"], unique=True)
    op.create_table(
        "documents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False, comment="below the data folder"),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_documents_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
    )
    op.create_index("uq_documents_version_id_name", "documents", ["version_id", "name"], unique=True)
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False, comment="ready, leased, done, dead or cancelled"),
        sa.Column("available_at", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("owner", sa.String(length=32), server_default="", nullable=False),
        sa.Column("token", sa.Integer(), server_default="0", nullable=False, comment="fencing token: rises with every lease"),
        sa.Column("leased_until", sa.Float(), nullable=True),
        sa.Column("last_error", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_jobs_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index("ix_jobs_state_available_at", "jobs", ["state", "available_at"], unique=False)
    op.create_index(op.f("ix_jobs_version_id"), "jobs", ["version_id"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("document_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("destination", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False, comment="pending, sending, delivered, failed or cancelled"),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("available_at", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rejections", sa.Integer(), server_default="0", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False, comment="last answer of the destination"),
        sa.Column("delivered_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["document_id"], ["documents.id"], name=op.f("fk_deliveries_document_id")),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_deliveries_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_state_available_at", "deliveries", ["state", "available_at"], unique=False)
    op.create_index(op.f("ix_deliveries_version_id"), "deliveries", ["version_id"], unique=False)
    op.create_index("uq_deliveries_document_id_destination", "deliveries", ["document_id", "destination"], unique=True)
