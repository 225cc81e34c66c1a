"""Writing a received object into the ledger: part of a study, a repeat, a conflict, our own result, or unreadable."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Float, Integer, Row, bindparam, delete, exists, func, insert, or_, select, update

from trabecula_service.ledger.outbox import cancel_deliveries
from trabecula_service.ledger.schema import associations, instances, jobs, studies, versions
from trabecula_service.ledger.states import State, add_event, may_follow, move
from trabecula_service.receive.header import ObjectHeader, Unreadable
from trabecula_service.receive.object_kinds import is_ct, is_own_result

_ACTOR = "receive"
_CT_REASON = "CT image"
_ACTIVITY_SECONDS = 0.25
"""The time of the last object is written so often; far below any quiet time."""


# Built once: these run for each object, and building a statement takes longer than running it.
_SAME_UID = select(instances.c.id, instances.c.kind, instances.c.study_id, instances.c.sha256, instances.c.deleted_at).where(
    instances.c.sop_instance_uid == bindparam("uid")
)
_STUDY = (
    select(
        studies.c.patient_key,
        studies.c.announced_objects,
        studies.c.held_since,
        versions.c.study_id,
        versions.c.id,
        versions.c.number,
        versions.c.state,
        versions.c.last_activity_at,
    )
    .join(versions, (versions.c.study_id == studies.c.id) & (versions.c.number == studies.c.latest_version))
    .where(studies.c.study_instance_uid == bindparam("uid"))
)
_INSERT = insert(instances).inline()
_VALUES = (
    "sop_instance_uid", "sop_class_uid", "transfer_syntax_uid", "series_instance_uid", "association_id", "kind", "reason", "sha256",
    "size_bytes", "received_at",
)  # fmt: skip
_ONE_MORE_IMAGE = insert(instances).from_select(
    [*_VALUES, "study_id", "first_version"],
    select(*(bindparam(name, type_=instances.c[name].type) for name in _VALUES), versions.c.study_id, versions.c.number)
    .select_from(studies)
    .join(versions, (versions.c.study_id == studies.c.id) & (versions.c.number == studies.c.latest_version))
    .where(
        studies.c.study_instance_uid == bindparam("study_instance_uid"),
        studies.c.patient_key == bindparam("patient_key"),
        versions.c.state == State.RECEIVING,
        versions.c.last_activity_at.between(bindparam("active_since", type_=Float), bindparam("received_at", type_=Float)),
        or_(
            bindparam("announced_objects", type_=Integer).is_(None),
            studies.c.announced_objects == bindparam("announced_objects", type_=Integer),
        ),
        ~exists().where(instances.c.sop_instance_uid == bindparam("sop_instance_uid")),
    ),
)
"""What nearly every object is: an image that is new, of a study that is being received. One statement, where all questions take three."""


class Kind(StrEnum):
    """What a received object is to us."""

    CT = "ct"
    OTHER = "other"
    OWN_RESULT = "own_result"
    UNREADABLE = "unreadable"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object whose bytes are safely on the disk, with what the C-STORE request said about it."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    size_bytes: int
    association_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What became of a received object."""

    kind: Kind
    repeated: bool = False
    reason: str = ""
    study_id: str | None = None
    was_deleted: bool = False
    """Its bytes were deleted after the retention time: whoever has stored them again calls ``restore_object``."""


def record_object(connection: Connection, stored: StoredObject, header: ObjectHeader | Unreadable, now: float) -> Intake:
    """Enter one stored object, in the caller's transaction; call it before the sender is told of success."""
    if isinstance(header, ObjectHeader) and _file_one_more(connection, stored, header, now):
        return Intake(kind=Kind.CT, reason=_CT_REASON)
    same_uid = connection.execute(_SAME_UID, {"uid": stored.sop_instance_uid}).all()
    for known in same_uid:
        if known.sha256 == stored.sha256:
            connection.execute(update(instances).where(instances.c.id == known.id).values(repeats=instances.c.repeats + 1))
            return Intake(
                kind=Kind(known.kind),
                repeated=True,
                reason="the same bytes came again",
                study_id=known.study_id,
                was_deleted=known.deleted_at is not None,
            )
    if isinstance(header, Unreadable):
        return _set_aside(connection, stored, Kind.UNREADABLE, header.reason, now)
    if header.sop_instance_uid != stored.sop_instance_uid:
        return _set_aside(connection, stored, Kind.UNREADABLE, "the SOP Instance UID of the data set is not that of the request", now)
    if is_own_result(header):
        return _set_aside(connection, stored, Kind.OWN_RESULT, "a result of this product that came back", now, header)
    for other in same_uid:
        if other.kind in (Kind.CT, Kind.OTHER):
            reason = "another content came under a SOP Instance UID that is known; the first one is kept and used"
            return _set_aside(connection, stored, Kind.CONFLICT, reason, now, header, other.study_id)
    study = _find_study(connection, header.study_instance_uid)
    if study is not None and study.patient_key != patient_key(header):
        reason = "the Patient ID differs from that of the study's first object; two patients are never mixed"
        return _set_aside(connection, stored, Kind.CONFLICT, reason, now, header, study.study_id)
    return _file(connection, stored, header, study, now)


def _file_one_more(connection: Connection, stored: StoredObject, header: ObjectHeader, now: float) -> bool:
    """Enter one more image of a study that is being received, if that is what it is."""
    if not is_ct(header.sop_class_uid) or is_own_result(header) or header.sop_instance_uid != stored.sop_instance_uid:
        return False
    values = {
        **_stored_values(stored, header.series_instance_uid, Kind.CT, _CT_REASON, now),
        "study_instance_uid": header.study_instance_uid,
        "patient_key": patient_key(header),
        "active_since": now - _ACTIVITY_SECONDS,
        "announced_objects": header.announced_objects,
    }
    return connection.execute(_ONE_MORE_IMAGE, values).rowcount == 1


def _stored_values(stored: StoredObject, series_uid: str, kind: Kind, reason: str, now: float) -> dict[str, Any]:
    return {
        "sop_instance_uid": stored.sop_instance_uid,
        "sop_class_uid": stored.sop_class_uid,
        "transfer_syntax_uid": stored.transfer_syntax_uid,
        "series_instance_uid": series_uid,
        "association_id": stored.association_id,
        "kind": kind,
        "reason": reason,
        "sha256": stored.sha256,
        "size_bytes": stored.size_bytes,
        "received_at": now,
    }


def _find_study(connection: Connection, study_instance_uid: str) -> Row[*tuple[Any, ...]] | None:
    """The study with its latest version, if it is known."""
    return connection.execute(_STUDY, {"uid": study_instance_uid}).first()


def forget_object(connection: Connection, stored: StoredObject) -> None:
    """Take the row of an object back whose bytes could not be made durable; it was never acknowledged."""
    connection.execute(
        delete(instances).where(instances.c.sop_instance_uid == stored.sop_instance_uid, instances.c.sha256 == stored.sha256)
    )


def patient_key(header: ObjectHeader) -> str:
    """A hash that tells patients apart."""
    return hashlib.sha256(f"{header.patient_id}\x00{header.issuer_of_patient_id}".encode()).hexdigest()


def open_association(connection: Connection, run_id: str, calling_ae_title: str, address: str, now: float) -> int:
    """Enter an accepted association; the ledger's id for it."""
    row = insert(associations).values(run_id=run_id, calling_ae_title=calling_ae_title, address=address, opened_at=now)
    key = connection.execute(row).inserted_primary_key
    return int(key[0]) if key else 0


def close_association(connection: Connection, association_id: int, end: str, now: float) -> None:
    """Enter the end of an association; the quiet time of the studies it brought begins now. "lost" never replaces a better reason."""
    still = ["open", "lost"]
    connection.execute(
        update(associations).where(associations.c.id == association_id, associations.c.end.in_(still)).values(closed_at=now, end=end)
    )
    brought = select(instances.c.study_id).where(instances.c.association_id == association_id, instances.c.study_id.is_not(None))
    connection.execute(
        update(versions).where(versions.c.study_id.in_(brought), versions.c.state == State.RECEIVING).values(last_activity_at=now)
    )


def take_back_unfinished(connection: Connection, is_whole: Callable[[str, int], bool], lost: Sequence[int], now: float) -> int:
    """Rows whose bytes did not reach the disk when the machine stopped, of associations that ended with it; how many.

    Bytes and row of an object are synced side by side, and the sender is told after both; then it sends the next. So only the last object
    of an association can be so. The sender was not told, so it sends it again.
    """
    newest = select(func.max(instances.c.id)).where(instances.c.association_id.in_(lost)).group_by(instances.c.association_id)
    rows = connection.execute(
        select(instances.c.id, instances.c.sha256, instances.c.size_bytes, instances.c.study_id).where(
            instances.c.id.in_(newest), instances.c.deleted_at.is_(None)
        )
    ).all()
    unfinished = [row for row in rows if not is_whole(row.sha256, row.size_bytes)]
    for row in unfinished:
        connection.execute(delete(instances).where(instances.c.id == row.id))
        reason = "an object was not completely on the disk when the machine stopped; it had not been acknowledged and will be sent again"
        add_event(connection, row.study_id, None, reason=reason, actor=_ACTOR, now=now)
    return len(unfinished)


def close_lost_associations(connection: Connection, run_id: str, now: float) -> int:
    """At the start: associations of an earlier run ended with it. Their studies wait their quiet time from now."""
    lost = connection.execute(
        select(associations.c.id).where(associations.c.closed_at.is_(None), associations.c.run_id != run_id)
    ).scalars()
    count = 0
    for association_id in list(lost):
        close_association(connection, association_id, "restart", now)
        count += 1
    return count


def _set_aside(
    connection: Connection,
    stored: StoredObject,
    kind: Kind,
    reason: str,
    now: float,
    header: ObjectHeader | None = None,
    study_id: str | None = None,
) -> Intake:
    series_uid = header.series_instance_uid if header else ""
    _insert_instance(connection, stored, series_uid, kind, reason, now, study_id=study_id, first_version=None)
    number = connection.execute(select(studies.c.latest_version).where(studies.c.id == study_id)).scalar() if study_id else None
    add_event(connection, study_id, number, reason=f"object set aside: {reason}", actor=_ACTOR, now=now)
    return Intake(kind=kind, reason=reason, study_id=study_id)


def _file(connection: Connection, stored: StoredObject, header: ObjectHeader, study: Row[*tuple[Any, ...]] | None, now: float) -> Intake:
    kind = Kind.CT if is_ct(header.sop_class_uid) else Kind.OTHER
    reason = _CT_REASON if kind is Kind.CT else "not a CT image: kept, not analysed"
    version = study if study is not None else _new_study(connection, header, now)
    study_id, number = str(version.study_id), version.number
    if version.state == State.RECEIVING:
        # Not for each of a thousand slices: the end of the association writes the exact time.
        if not 0.0 <= now - version.last_activity_at < _ACTIVITY_SECONDS:
            connection.execute(update(versions).where(versions.c.id == version.id).values(last_activity_at=now))
    elif kind is Kind.CT:
        # Only images are measured, so only they can make an earlier answer out of date.
        number = _supersede(connection, study_id, version, now)
    if header.announced_objects is not None and header.announced_objects != getattr(version, "announced_objects", None):
        connection.execute(update(studies).where(studies.c.id == study_id).values(announced_objects=header.announced_objects))
    if study is not None and study.held_since is None:
        connection.execute(update(studies).where(studies.c.id == study_id).values(held_since=now))
    _insert_instance(
        connection,
        stored,
        header.series_instance_uid,
        kind,
        reason,
        now,
        study_id=study_id,
        first_version=number if kind is Kind.CT else None,
    )
    return Intake(kind=kind, reason=reason, study_id=study_id)


def _new_study(connection: Connection, header: ObjectHeader, now: float) -> Row[*tuple[Any, ...]]:
    study_id = secrets.token_hex(8)
    connection.execute(
        insert(studies).values(
            id=study_id,
            study_instance_uid=header.study_instance_uid,
            patient_key=patient_key(header),
            patient_name=header.patient_name,
            patient_id=header.patient_id,
            accession_number=header.accession_number,
            study_date=header.study_date,
            study_description=header.study_description,
            first_received_at=now,
            held_since=now,
            latest_version=1,
        )
    )
    _new_version(connection, study_id, 1, "first object received", now)
    return connection.execute(select(versions).where(versions.c.study_id == study_id)).one()


def _supersede(connection: Connection, study_id: str, old: Row[*tuple[Any, ...]], now: float) -> int:
    number = int(old.number) + 1
    reason = f"images arrived after version {old.number} had been closed; version {number} takes its place"
    if may_follow(State(old.state), State.SUPERSEDED):
        move(connection, old.id, State.SUPERSEDED, reason=reason, actor=_ACTOR, now=now)
    connection.execute(update(jobs).where(jobs.c.version_id == old.id, jobs.c.state.in_(["ready", "leased"])).values(state="cancelled"))
    cancel_deliveries(connection, old.id, reason)
    # A signature was given to what is superseded; the work list knows nothing of the new version until it is measured.
    connection.execute(update(studies).where(studies.c.id == study_id).values(latest_version=number, verdict="", attention=0))
    _new_version(connection, study_id, number, reason, now)
    return number


def _new_version(connection: Connection, study_id: str, number: int, reason: str, now: float) -> None:
    connection.execute(
        insert(versions).values(
            study_id=study_id,
            number=number,
            state=State.RECEIVING,
            reason=reason,
            state_since=now,
            first_object_at=now,
            last_activity_at=now,
        )
    )
    add_event(connection, study_id, number, to_state=State.RECEIVING, reason=reason, actor=_ACTOR, now=now)


def _insert_instance(
    connection: Connection,
    stored: StoredObject,
    series_uid: str,
    kind: Kind,
    reason: str,
    now: float,
    *,
    study_id: str | None,
    first_version: int | None,
) -> None:
    values = _stored_values(stored, series_uid, kind, reason, now)
    connection.execute(_INSERT, {**values, "study_id": study_id, "first_version": first_version})
