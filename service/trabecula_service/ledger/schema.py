"""Tables of the ledger. Times are seconds since 1970 in UTC; ``*_at`` that are not yet known are NULL."""

from typing import Any

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text, text
from sqlalchemy.types import TypeEngine


def _short(length: int) -> TypeEngine[Any]:
    # PostgreSQL enforces lengths where SQLite does not, and what a sender wrote must never keep an object out of the ledger.
    return String(length).with_variant(Text(), "postgresql")


_WIDE = Integer().with_variant(BigInteger(), "postgresql")
"""SQLite's integers are wide anyway."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

studies = Table(
    "studies",
    metadata,
    Column("id", _short(32), primary_key=True, comment="our own random name of the study: the one that appears in addresses"),
    Column("study_instance_uid", _short(64), nullable=False, unique=True),
    Column("patient_key", _short(64), nullable=False, comment="hash of the patient's identifier: one study has one patient"),
    Column("patient_name", Text, nullable=False),
    Column("patient_id", Text, nullable=False),
    Column("accession_number", Text, nullable=False),
    Column("study_date", _short(16), nullable=False),
    Column("study_description", Text, nullable=False),
    Column("first_received_at", Float, nullable=False),
    Column("latest_version", Integer, nullable=False),
    Column("priority", Integer, nullable=False, server_default="0", comment="as in queue.port.Priority"),
    Column("state", _short(16), nullable=False, server_default="receiving", comment="of the latest version; kept by a trigger"),
    Column("attention", Integer, nullable=False, server_default="0", comment="as in ledger.reviews.Attention"),
    Column("verdict", _short(16), nullable=False, server_default="", comment="of the reader on the latest version; empty: none"),
    Column("announced_objects", Integer, comment="as the sender wrote into an object (0020,1208); NULL: not said"),
    Column("held_since", Float, comment="since when we hold images of it; NULL: none"),
    Column("images_deleted_at", Float, comment="NULL: all received images are there"),
    Index("ix_studies_verdict_attention_first_received_at_id", "verdict", "attention", "first_received_at", "id"),
    Index("ix_studies_patient_key", "patient_key"),
    Index("ix_studies_held_since_id", "held_since", "id"),
    Index("ix_studies_verdict_first_received_at_id", "verdict", "first_received_at", "id"),
    # By the codes of the letters, whatever the database's language: only so does an index find the beginning of a name.
    Index("ix_studies_patient_name", "patient_name", postgresql_ops={"patient_name": "text_pattern_ops"}),
    Index("ix_studies_patient_id", "patient_id"),
    Index("ix_studies_accession_number", "accession_number"),
    Index("ix_studies_first_received_at_id", "first_received_at", "id"),
    Index("ix_studies_state_first_received_at_id", "state", "first_received_at", "id"),
)

versions = Table(
    "versions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("studies.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", _short(16), nullable=False),
    Column("reason", Text, nullable=False, comment="why it is in this state, for people; never empty"),
    Column("state_since", Float, nullable=False),
    Column("first_object_at", Float, nullable=False),
    Column("last_activity_at", Float, nullable=False),
    Column("result_time_at", Float, comment="date and time that the documents carry, the same in every attempt"),
    Column("progress", Text, nullable=False, server_default=""),
    Column("code", _short(32), nullable=False, server_default="", comment="code of a study that could not be evaluated"),
    Column("headline", Text, nullable=False, server_default=""),
    Column("result_json", Text),
    Index("uq_versions_study_id_number", "study_id", "number", unique=True),
    Index("ix_versions_state_study_id", "state", "study_id"),
    Index("ix_versions_state_code", "state", "code"),
)

associations = Table(
    "associations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", _short(32), nullable=False, comment="the run of the service that served it"),
    Column("calling_ae_title", _short(16), nullable=False),
    Column("address", _short(64), nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("closed_at", Float),
    Column("end", _short(16), nullable=False, server_default="open", comment="open, released, aborted, lost or restart"),
    Index("ix_associations_closed_at", "closed_at"),
)

_HAS_CONTENT = text("kind IN ('ct', 'other')")

instances = Table(
    "instances",
    metadata,
    Column("id", _WIDE, primary_key=True),
    Column("sop_instance_uid", _short(128), nullable=False),
    Column("sop_class_uid", _short(128), nullable=False),
    Column("transfer_syntax_uid", _short(64), nullable=False),
    Column("series_instance_uid", _short(64), nullable=False),
    Column("study_id", ForeignKey("studies.id"), comment="NULL: set aside, part of no study"),
    Column("first_version", Integer, comment="first version of the study that it belongs to; NULL: not an input of the analysis"),
    Column("association_id", ForeignKey("associations.id")),
    Column("kind", _short(16), nullable=False, comment="ct, other, own_result, unreadable or conflict"),
    Column("reason", Text, nullable=False),
    Column("sha256", _short(64), nullable=False, comment="of the data set and its transfer syntax; its name on the disk"),
    Column("size_bytes", _WIDE, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("repeats", Integer, nullable=False, server_default="0", comment="how often the same bytes came again"),
    Column("deleted_at", Float, comment="NULL: its bytes are there"),
    Index("uq_instances_sop_instance_uid_sha256", "sop_instance_uid", "sha256", unique=True),
    # One content per SOP instance: a second one is a conflict and stands outside of this index.
    Index("uq_instances_one_content", "sop_instance_uid", unique=True, sqlite_where=_HAS_CONTENT, postgresql_where=_HAS_CONTENT),
    Index("ix_instances_study_id_kind", "study_id", "kind"),
    Index("ix_instances_kind", "kind"),
    Index("ix_instances_association_id", "association_id"),
)

events = Table(
    "events",
    metadata,
    Column("id", _WIDE, primary_key=True),
    Column("at", Float, nullable=False),
    Column("study_id", ForeignKey("studies.id")),
    Column("version_number", Integer),
    Column("actor", _short(32), nullable=False),
    Column("from_state", _short(16), nullable=False, server_default=""),
    Column("to_state", _short(16), nullable=False, server_default="", comment="empty for a note that changes no state"),
    Column("reason", Text, nullable=False),
    Index("ix_events_study_id_id", "study_id", "id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version_id", ForeignKey("versions.id"), nullable=False, index=True),
    Column("state", _short(16), nullable=False, comment="ready, leased, done, dead or cancelled"),
    Column("available_at", Float, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("owner", _short(32), nullable=False, server_default=""),
    Column("token", Integer, nullable=False, server_default="0", comment="fencing token: rises with every lease"),
    Column("leased_until", Float),
    Column("last_error", Text, nullable=False, server_default=""),
    Column("priority", Integer, nullable=False, server_default="0", comment="as in queue.port.Priority"),
    Column("dispatch_id", BigInteger, comment="id of the job in Procrastinate's table, on PostgreSQL"),
    Index("ix_jobs_state_priority_available_at", "state", "priority", "available_at"),
)

documents = Table(
    "documents",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version_id", ForeignKey("versions.id"), nullable=False),
    Column("name", _short(64), nullable=False),
    Column("path", Text, nullable=False, comment="below the data folder"),
    Column("sha256", _short(64), nullable=False),
    Column("size_bytes", _WIDE, nullable=False),
    Column("deleted_at", Float, comment="NULL: its bytes are there"),
    Index("uq_documents_version_id_name", "version_id", "name", unique=True),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("document_id", ForeignKey("documents.id"), nullable=False),
    Column("version_id", ForeignKey("versions.id"), nullable=False, index=True),
    Column("destination", _short(32), nullable=False),
    Column("state", _short(16), nullable=False, comment="pending, sending, stored (to be confirmed), delivered, failed or cancelled"),
    Column("created_at", Float, nullable=False),
    Column("available_at", Float, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("rejections", Integer, nullable=False, server_default="0"),
    Column("note", Text, nullable=False, server_default="", comment="last answer of the destination"),
    Column("delivered_at", Float),
    Column("sop_class_uid", Text, nullable=False, server_default="", comment="of what the destination took, where it is asked to confirm"),
    Column("sop_instance_uid", Text, nullable=False, server_default=""),
    Column("asks", Integer, nullable=False, server_default="0", comment="how often it was asked whether it keeps the document"),
    Index("uq_deliveries_document_id_destination", "document_id", "destination", unique=True),
    Index("ix_deliveries_state_available_at", "state", "available_at"),
)

commitment_asks = Table(
    "commitment_asks",
    metadata,
    Column("transaction_uid", Text, primary_key=True),
    Column("delivery_id", ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("asked_at", Float, nullable=False),
)

commitments = Table(
    "commitments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("transaction_uid", Text, nullable=False),
    Column("calling_ae_title", Text, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("objects", Text, nullable=False, comment="JSON list of pairs: SOP class, SOP instance"),
    Column("state", Text, nullable=False, comment="pending, reported or failed"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("available_at", Float, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Index("ix_commitments_state_available_at", "state", "available_at"),
)

refused_callers = Table(
    "refused_callers",
    metadata,
    Column("calling_ae_title", _short(16), primary_key=True),
    Column("address", _short(64), primary_key=True),
    Column("times", Integer, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("reason", Text, nullable=False),
)

calibration_entries = Table(
    "calibration_entries",
    metadata,
    Column("id", _short(128), primary_key=True),
    Column("content_sha256", _short(64), nullable=False, unique=True),
    Column("toml", Text, nullable=False, comment="the entry as one [[entry]] table; never changed, a correction is a new entry"),
    Column("entered_at", Float, nullable=False),
    Column("entered_by", Text, nullable=False),
)

calibration_checks = Table(
    "calibration_checks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("entry_id", ForeignKey("calibration_entries.id"), nullable=False, index=True),
    Column("on_day", _short(10), nullable=False, comment="day of the QA scan, ISO 8601"),
    Column("reading_mg_cm3", Float, nullable=False, comment="what the entry's line read of 120 mg/cm3"),
    Column("entered_at", Float, nullable=False),
    Column("entered_by", Text, nullable=False),
)

calibration_changes = Table(
    "calibration_changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("manufacturer", Text, nullable=False),
    Column("device_serial", Text, nullable=False),
    Column("on_day", _short(10), nullable=False, comment="day of the change, ISO 8601"),
    Column("what", Text, nullable=False, comment="new tube, new software ..."),
    Column("entered_at", Float, nullable=False),
    Column("entered_by", Text, nullable=False),
)

reviews = Table(
    "reviews",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version_id", ForeignKey("versions.id"), nullable=False, unique=True, comment="the version that came of it"),
    Column("base_version_id", ForeignKey("versions.id"), nullable=False, comment="the version that the reader looked at"),
    Column("verdict", _short(16), nullable=False, comment="accepted, amended or rejected"),
    Column("reader", Text, nullable=False, comment="name as it stands in the documents"),
    Column("organization", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("edits_json", Text, nullable=False, comment="review.edits.Edits"),
    Column("signed_at", Float, nullable=False),
    Column("entered_by", Text, nullable=False, comment="page, api or the account that was logged in"),
)

processes = Table(
    "processes",
    metadata,
    Column("run_id", _short(32), primary_key=True),
    Column("roles", _short(64), nullable=False),
    Column("host", _short(255), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False, comment="last sign of life, by the database's clock"),
)

tallies = Table(
    "tallies",
    metadata,
    Column("counted", _short(16), primary_key=True, comment="studies by state, objects by kind, repeats; kept by triggers"),
    Column("name", _short(16), primary_key=True),
    Column("count", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", _short(8), primary_key=True),
    Column("name", _short(64), nullable=False),
    Column("role", _short(16), nullable=False),
    Column("secret_sha256", _short(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("created_by", _short(64), nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_sha256", _short(64), primary_key=True),
    Column("name", _short(64), nullable=False),
    Column("role", _short(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("key_id", ForeignKey("api_keys.id"), comment="the key that opened it: revoked, it ends the session"),
)

logins = Table(
    "logins",
    metadata,
    Column("state_sha256", _short(64), primary_key=True),
    Column("nonce", _short(64), nullable=False),
    Column("verifier", _short(128), nullable=False),
    Column("next_path", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _WIDE, primary_key=True),
    Column("at", Float, nullable=False),
    Column("actor", _short(64), nullable=False),
    Column("role", _short(16), nullable=False),
    Column("via", _short(16), nullable=False),
    Column("address", _short(64), nullable=False),
    Column("action", _short(16), nullable=False),
    Column("study_id", _short(32), nullable=False),
    Column("outcome", _short(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("sha256", _short(64), nullable=False, comment="of the hash of the row before and this row"),
    Index("ix_audit_at", "at"),
    Index("ix_audit_study_id", "study_id"),
)

backfill_studies = Table(
    "backfill_studies",
    metadata,
    Column("study_instance_uid", _short(64), primary_key=True),
    Column("study_date", _short(8), nullable=False),
    Column("step", _short(16), nullable=False, comment="listed, requested, fetched or failed"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("note", Text, nullable=False, server_default=""),
    Column("changed_at", Float, nullable=False),
    Index("ix_backfill_studies_study_date_step", "study_date", "step"),
)

deletions = Table(
    "deletions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("studies.id"), nullable=False),
    Column("decided_at", Float, nullable=False),
    Column("finished_at", Float, comment="NULL: files may still be there"),
    Column("objects", Integer, nullable=False),
    Column("size_bytes", _WIDE, nullable=False),
    Index("ix_deletions_finished_at", "finished_at"),
)
