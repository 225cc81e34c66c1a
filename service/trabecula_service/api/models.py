"""Shapes of the REST answers; times are ISO 8601 in UTC."""

from datetime import UTC, datetime
from typing import Literal

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict

from trabecula_service.ledger.queries import DeliveryRow, DocumentRow, EventRow, StudyRow, VersionRow
from trabecula_service.ledger.states import State


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def moment(seconds: float) -> datetime:
    """Seconds of the ledger as a time."""
    return datetime.fromtimestamp(seconds, UTC)


def seconds_of(at: datetime | None) -> float | None:
    """A time as seconds of the ledger; one without a zone is UTC.

    Raises
    ------
    HTTPException : 422 for a time that no clock can show.
    """
    if at is None:
        return None
    try:
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, ValueError) as error:
        raise HTTPException(422, "since, until: this time is out of range") from error


class StudySummary(_Answer):
    """A study and the state of its latest version."""

    id: str
    study_instance_uid: str
    state: State
    reason: str
    state_since: datetime
    first_received: datetime
    version: int
    progress: str
    code: str
    headline: str
    attention: int
    """3 first, 2 note, 1 routine, 0 nothing measured."""

    verdict: str
    """Of a reader on the latest version: accepted, amended, rejected, or empty."""

    @classmethod
    def of(cls, row: StudyRow) -> "StudySummary":
        """From the ledger's row."""
        return cls(
            id=row.id,
            study_instance_uid=row.study_instance_uid,
            state=row.state,
            reason=row.reason,
            state_since=moment(row.state_since),
            first_received=moment(row.first_received_at),
            version=row.version,
            progress=row.progress,
            code=row.code,
            headline=row.headline,
            attention=row.attention,
            verdict=row.verdict,
        )


class StudyList(_Answer):
    """One page of studies; ``counts`` covers all studies and adds up to ``received``."""

    studies: list[StudySummary]
    limit: int
    offset: int
    next: str | None
    """Cursor of the next page, to be given as ``after``; null at the end."""

    received: int
    counts: dict[State, int]
    objects: dict[str, int]


class Document(_Answer):
    """One stored document of a version."""

    name: str
    size_bytes: int
    sha256: str
    url: str

    @classmethod
    def of(cls, row: DocumentRow, study_id: str, version: int) -> "Document":
        """From the ledger's row."""
        return cls(name=row.name, size_bytes=row.size_bytes, sha256=row.sha256, url=document_url(study_id, version, row.name))


def document_url(study_id: str, version: int, name: str) -> str:
    """Where a document can be downloaded."""
    return f"/api/v1/studies/{study_id}/versions/{version}/documents/{name}"


class Delivery(_Answer):
    """One document on its way to one destination."""

    document: str
    destination: str
    state: str
    attempts: int
    note: str
    next_try: datetime | None
    delivered: datetime | None

    @classmethod
    def of(cls, row: DeliveryRow) -> "Delivery":
        """From the ledger's row."""
        return cls(
            document=row.document,
            destination=row.destination,
            state=row.state,
            attempts=row.attempts,
            note=row.note,
            next_try=moment(row.available_at) if row.state == "pending" else None,
            delivered=moment(row.delivered_at) if row.delivered_at is not None else None,
        )


class Version(_Answer):
    """One version of a study."""

    number: int
    state: State
    reason: str
    state_since: datetime
    code: str
    headline: str
    documents: list[Document]
    deliveries: list[Delivery]

    @classmethod
    def of(cls, row: VersionRow, study_id: str, documents: list[DocumentRow], deliveries: list[DeliveryRow]) -> "Version":
        """From the ledger's rows."""
        return cls(
            number=row.number,
            state=row.state,
            reason=row.reason,
            state_since=moment(row.state_since),
            code=row.code,
            headline=row.headline,
            documents=[Document.of(document, study_id, row.number) for document in documents],
            deliveries=[Delivery.of(delivery) for delivery in deliveries],
        )


class HistoryEntry(_Answer):
    """One line of a study's history."""

    at: datetime
    version: int | None
    actor: str
    from_state: str
    to_state: str
    reason: str

    @classmethod
    def of(cls, row: EventRow) -> "HistoryEntry":
        """From the ledger's row."""
        return cls(
            at=moment(row.at),
            version=row.version_number,
            actor=row.actor,
            from_state=row.from_state,
            to_state=row.to_state,
            reason=row.reason,
        )


class StudyDetail(_Answer):
    """Everything about one study."""

    study: StudySummary
    objects: dict[str, int]
    versions: list[Version]
    history: list[HistoryEntry]


class UrgentAnswer(_Answer):
    """A study that goes before all others now."""

    id: str
    first: bool


class RetryAnswer(_Answer):
    """Where a study went that is tried again."""

    id: str
    state: State


class HealthAnswer(_Answer):
    """Whether the service is well."""

    status: Literal["ok", "unwell"]
    problems: list[str]
    disk_free_gib: float
    queue_depth: int
    heartbeat_age_s: dict[str, float]
