"""What people and programs ask the ledger; nothing here writes."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from trabecula_service.ledger.schema import deliveries, documents, events, instances, refused_callers, studies, tallies, versions
from trabecula_service.ledger.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """One line of the work list: a study and its latest version."""

    id: str
    study_instance_uid: str
    patient_name: str
    patient_id: str
    accession_number: str
    study_date: str
    study_description: str
    first_received_at: float
    version: int
    version_id: int
    state: State
    reason: str
    state_since: float
    progress: str
    code: str
    headline: str
    attention: int = 0
    verdict: str = ""
    images_deleted_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """One version of a study."""

    id: int
    number: int
    state: State
    reason: str
    state_since: float
    code: str
    headline: str
    result_json: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """One stored document."""

    id: int
    name: str
    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One line of a study's history."""

    at: float
    version_number: int | None
    actor: str
    from_state: str
    to_state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One document on its way to one destination."""

    document: str
    destination: str
    state: str
    attempts: int
    note: str
    available_at: float
    delivered_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAsideRow:
    """Objects that are part of no analysis, by kind and reason."""

    kind: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedCaller:
    """Somebody who may not send."""

    calling_ae_title: str
    address: str
    times: int
    last_at: float
    reason: str


STUDY_COLUMNS = (
    studies.c.id,
    studies.c.study_instance_uid,
    studies.c.patient_name,
    studies.c.patient_id,
    studies.c.accession_number,
    studies.c.study_date,
    studies.c.study_description,
    studies.c.first_received_at,
    versions.c.number.label("version"),
    versions.c.id.label("version_id"),
    versions.c.state,
    versions.c.reason,
    versions.c.state_since,
    versions.c.progress,
    versions.c.code,
    versions.c.headline,
    studies.c.attention,
    studies.c.verdict,
    studies.c.images_deleted_at,
)
_LATEST = (versions.c.study_id == studies.c.id) & (versions.c.number == studies.c.latest_version)


def list_studies(connection: Connection, *, state: State | None, limit: int, offset: int) -> list[StudyRow]:
    """A page of studies, the newest first."""
    # The page is cut from an index before anything is joined: the joins would otherwise be made for every row that is passed over.
    page = select(studies.c.id)
    if state is not None:
        page = page.where(studies.c.state == state)
    page = page.order_by(studies.c.first_received_at.desc(), studies.c.id.desc()).limit(limit).offset(offset)
    query = select(*STUDY_COLUMNS).join(versions, _LATEST).where(studies.c.id.in_(page))
    rows = connection.execute(query.order_by(studies.c.first_received_at.desc(), studies.c.id.desc()))
    return [study_row(row._asdict()) for row in rows]


def find_study(connection: Connection, study_id: str) -> StudyRow | None:
    """One study by our own id."""
    row = connection.execute(select(*STUDY_COLUMNS).join(versions, _LATEST).where(studies.c.id == study_id)).first()
    return study_row(row._asdict()) if row else None


def study_row(values: dict[str, object]) -> StudyRow:
    """From the columns ``STUDY_COLUMNS``."""
    return StudyRow(**{**values, "state": State(str(values["state"]))})  # type: ignore[arg-type]


def list_versions(connection: Connection, study_id: str) -> list[VersionRow]:
    """All versions of a study, the newest first."""
    rows = connection.execute(
        select(
            versions.c.id,
            versions.c.number,
            versions.c.state,
            versions.c.reason,
            versions.c.state_since,
            versions.c.code,
            versions.c.headline,
            versions.c.result_json,
        )
        .where(versions.c.study_id == study_id)
        .order_by(versions.c.number.desc())
    )
    return [VersionRow(**{**row._asdict(), "state": State(row.state)}) for row in rows]


def list_documents(connection: Connection, version_id: int) -> list[DocumentRow]:
    """Documents of a version."""
    rows = connection.execute(
        select(documents.c.id, documents.c.name, documents.c.path, documents.c.sha256, documents.c.size_bytes)
        .where(documents.c.version_id == version_id, documents.c.deleted_at.is_(None))
        .order_by(documents.c.name)
    )
    return [DocumentRow(**row._asdict()) for row in rows]


def find_document(connection: Connection, study_id: str, number: int, name: str) -> DocumentRow | None:
    """One document of one version."""
    row = connection.execute(
        select(documents.c.id, documents.c.name, documents.c.path, documents.c.sha256, documents.c.size_bytes)
        .join(versions, versions.c.id == documents.c.version_id)
        .where(versions.c.study_id == study_id, versions.c.number == number, documents.c.name == name, documents.c.deleted_at.is_(None))
    ).first()
    return DocumentRow(**row._asdict()) if row else None


def list_events(connection: Connection, study_id: str, *, limit: int = 500) -> list[EventRow]:
    """History of a study, the newest first."""
    rows = connection.execute(
        select(events.c.at, events.c.version_number, events.c.actor, events.c.from_state, events.c.to_state, events.c.reason)
        .where(events.c.study_id == study_id)
        .order_by(events.c.id.desc())
        .limit(limit)
    )
    return [EventRow(**row._asdict()) for row in rows]


def list_deliveries(connection: Connection, version_id: int) -> list[DeliveryRow]:
    """Parcels of a version."""
    rows = connection.execute(
        select(
            documents.c.name.label("document"),
            deliveries.c.destination,
            deliveries.c.state,
            deliveries.c.attempts,
            deliveries.c.note,
            deliveries.c.available_at,
            deliveries.c.delivered_at,
        )
        .join(documents, documents.c.id == deliveries.c.document_id)
        .where(deliveries.c.version_id == version_id)
        .order_by(deliveries.c.destination, documents.c.name)
    )
    return [DeliveryRow(**row._asdict()) for row in rows]


def count_states(connection: Connection) -> dict[State, int]:
    """Number of studies by the state of their latest version; every state is there, and the sum is the number of studies."""
    found = tally(connection, "study")
    return {state: found.get(state, 0) for state in State}


def count_instances(connection: Connection) -> dict[str, int]:
    """Number of stored objects by kind, and how often one came again ("repeats")."""
    found = tally(connection, "object")
    return {kind: found.get(kind, 0) for kind in ("ct", "other", "own_result", "unreadable", "conflict", "repeats")}


def tally(connection: Connection, counted: str) -> dict[str, int]:
    """The number of what is counted ("study", "object", "job", "parcel"), by name."""
    # Counting the rows takes seconds where there are a million; triggers keep these numbers with every change.
    rows = connection.execute(select(tallies.c.name, tallies.c.count).where(tallies.c.counted == counted))
    return {str(row[0]): int(row[1]) for row in rows}


def count_study_instances(connection: Connection, study_id: str) -> dict[str, int]:
    """Number of objects of one study by kind."""
    rows = connection.execute(select(instances.c.kind, func.count()).where(instances.c.study_id == study_id).group_by(instances.c.kind))
    return {str(row[0]): int(row[1]) for row in rows}


def list_set_aside(connection: Connection) -> list[SetAsideRow]:
    """Objects that are part of no analysis, grouped by reason."""
    rows = connection.execute(
        select(instances.c.kind, instances.c.reason, func.count().label("count"))
        .where(instances.c.kind.in_(["unreadable", "conflict", "own_result"]))
        .group_by(instances.c.kind, instances.c.reason)
        .order_by(func.count().desc())
        .limit(50)
    )
    return [SetAsideRow(kind=row.kind, reason=row.reason, count=row[2]) for row in rows]


def list_refused_callers(connection: Connection) -> Sequence[RefusedCaller]:
    """Who was refused, the latest first."""
    rows = connection.execute(select(refused_callers).order_by(refused_callers.c.last_at.desc()).limit(20))
    return [RefusedCaller(**row._asdict()) for row in rows]


def count_jobs(connection: Connection) -> dict[str, int]:
    """Number of jobs by state."""
    return {state: count for state, count in tally(connection, "job").items() if count}


def count_skipped_by_code(connection: Connection) -> dict[str, int]:
    """Studies that could not be evaluated, by code."""
    # Only a latest version can be in this state: a later one makes it superseded.
    rows = connection.execute(select(versions.c.code, func.count()).where(versions.c.state == State.SKIPPED).group_by(versions.c.code))
    return {row[0] or "none": int(row[1]) for row in rows}


def oldest_waiting_at(connection: Connection) -> float | None:
    """When the study that has waited longest for its analysis was first seen."""
    waiting = [State.SETTLED, State.QUEUED, State.RUNNING]
    value = connection.execute(select(func.min(versions.c.first_object_at)).where(versions.c.state.in_(waiting))).scalar()
    return None if value is None else float(value)
