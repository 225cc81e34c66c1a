"""Which received images may be deleted after the retention time, and that they were.

A study is taken only when its latest version is done, every document of it was delivered to every destination it was meant for, nothing
of it waits or is in conflict, and nobody looked at it lately. What is to be deleted is marked in one transaction, before any file goes;
a stop between the two is taken up from the table ``deletions``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Column, ColumnElement, Connection, and_, func, insert, or_, select, update

from trabecula_service.ledger.outbox import ON_THEIR_WAY
from trabecula_service.ledger.schema import audit, deletions, deliveries, documents, instances, jobs, studies, versions
from trabecula_service.ledger.states import State, add_event

_ACTOR = "retention"
_DAY_SECONDS = 86400.0
LOOKED_AT_SECONDS = _DAY_SECONDS
"""Who has opened a study within this time may still be reading it."""
RECEIVED_KINDS = ("ct", "other")
"""What was set aside waits for a person and is never deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRule:
    """When images may go: so many seconds after the last delivery and the last image; ``only_signed`` waits for a reader too."""

    seconds: float
    only_signed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """Files that were marked and are to be deleted."""

    id: int
    study_id: str
    objects: int
    size_bytes: int


Place = tuple[float, str]
"""Where a page of candidates ended."""


def list_candidates(connection: Connection, rule: RetentionRule, now: float, *, after: Place | None, limit: int) -> list[Place]:
    """Finished studies that hold images from before the retention time, whether or not they may go: since when, and their ids."""
    # Skipped ones stay for ever and may be many: they are not looked at one by one.
    finished = studies.c.state == State.DONE
    query = select(studies.c.held_since, studies.c.id).where(finished, studies.c.held_since <= now - rule.seconds)
    if after is not None:
        query = query.where(
            or_(studies.c.held_since > after[0], and_(studies.c.held_since == after[0], studies.c.id > after[1])),
            # The same once more as one plain bound, which an index can use.
            studies.c.held_since >= after[0],
        )
    rows = connection.execute(query.order_by(studies.c.held_since, studies.c.id).limit(limit))
    return [(float(row.held_since), str(row.id)) for row in rows]


def why_kept(connection: Connection, study_id: str, rule: RetentionRule, now: float) -> str:
    """Why the images of a study must stay; empty if they may go."""
    study = connection.execute(
        select(studies.c.verdict, versions.c.id, versions.c.state)
        .join(versions, (versions.c.study_id == studies.c.id) & (versions.c.number == studies.c.latest_version))
        .where(studies.c.id == study_id)
    ).one()
    if study.state != State.DONE:
        return f"the study is {study.state}"
    if rule.only_signed and not study.verdict:
        return "no reader has signed it"
    before = now - rule.seconds
    sent = connection.execute(select(deliveries.c.state, deliveries.c.delivered_at).where(deliveries.c.version_id == study.id)).all()
    if not sent:
        return "nothing of it was delivered anywhere"
    if any(row.state != "delivered" for row in sent):
        return "not every document was delivered"
    if any(row.delivered_at is None or row.delivered_at > before for row in sent):
        return "it was delivered within the retention time"
    mine = select(versions.c.id).where(versions.c.study_id == study_id)
    if _any(connection, deliveries.c.id, deliveries.c.version_id.in_(mine), deliveries.c.state.in_(ON_THEIR_WAY)):
        return "a document is on its way"
    if _any(connection, jobs.c.id, jobs.c.version_id.in_(mine), jobs.c.state.in_(["ready", "leased"])):
        return "it is being worked on"
    if _any(connection, instances.c.id, instances.c.study_id == study_id, instances.c.kind.not_in(RECEIVED_KINDS)):
        return "objects of it were set aside and wait for a person"
    if _any(connection, instances.c.id, instances.c.study_id == study_id, instances.c.received_at > before):
        return "objects of it came within the retention time"
    if _any(connection, audit.c.id, audit.c.study_id == study_id, audit.c.at > now - LOOKED_AT_SECONDS):
        return "somebody looked at it within a day"
    return ""


def mark_deleted(connection: Connection, study_id: str, rule: RetentionRule, now: float) -> Deletion | None:
    """Decide once more and mark, in the caller's transaction; None if the images must stay after all."""
    if why_kept(connection, study_id, rule, now):
        return None
    held = (instances.c.study_id == study_id) & instances.c.kind.in_(RECEIVED_KINDS) & instances.c.deleted_at.is_(None)
    count, size = connection.execute(select(func.count(), func.coalesce(func.sum(instances.c.size_bytes), 0)).where(held)).one()
    connection.execute(update(instances).where(held).values(deleted_at=now))
    mine = select(versions.c.id).where(versions.c.study_id == study_id)
    connection.execute(
        update(documents)
        .where(documents.c.version_id.in_(mine), documents.c.name.in_(_PICTURES), documents.c.deleted_at.is_(None))
        .values(deleted_at=now)
    )
    connection.execute(update(studies).where(studies.c.id == study_id).values(held_since=None, images_deleted_at=now))
    key = connection.execute(
        insert(deletions).values(study_id=study_id, decided_at=now, objects=int(count), size_bytes=int(size))
    ).inserted_primary_key
    reason = f"{count} received objects deleted, {rule.seconds / _DAY_SECONDS:g} days after delivery; documents stay"
    number = connection.execute(select(studies.c.latest_version).where(studies.c.id == study_id)).scalar_one()
    add_event(connection, study_id, number, reason=reason, actor=_ACTOR, now=now)
    return Deletion(id=int(key[0]) if key else 0, study_id=study_id, objects=int(count), size_bytes=int(size))


_PICTURES = ("reading_room.zip",)
"""Documents that are nothing but the images once more (render.reading_images.FILE_NAME; a test holds the two together)."""


def next_unfinished(connection: Connection) -> Deletion | None:
    """A deletion whose files may not all be gone."""
    row = connection.execute(select(deletions).where(deletions.c.finished_at.is_(None)).order_by(deletions.c.id).limit(1)).first()
    return None if row is None else Deletion(id=row.id, study_id=row.study_id, objects=row.objects, size_bytes=row.size_bytes)


def marked_objects(connection: Connection, study_id: str) -> list[tuple[int, str]]:
    """Ids and hashes of the objects of a study that are marked as deleted."""
    rows = connection.execute(
        select(instances.c.id, instances.c.sha256).where(instances.c.study_id == study_id, instances.c.deleted_at.is_not(None))
    )
    return [(int(row.id), str(row.sha256)) for row in rows]


def marked_documents(connection: Connection, study_id: str) -> list[str]:
    """Paths, below the data folder, of the pictures of a study that are marked as deleted."""
    mine = select(versions.c.id).where(versions.c.study_id == study_id)
    rows = connection.execute(select(documents.c.path).where(documents.c.version_id.in_(mine), documents.c.deleted_at.is_not(None)))
    return [str(row.path) for row in rows]


def still_deletable(connection: Connection, objects: Sequence[tuple[int, str]]) -> list[str]:
    """Of marked objects the hashes whose files nobody needs: not sent again meanwhile, and no object set aside has the same bytes.

    Objects are restored in a transaction that writes, so whoever asks in one and deletes before it ends deletes nothing that came back.
    """
    marked = connection.execute(
        select(instances.c.sha256).where(instances.c.id.in_([row for row, _ in objects]), instances.c.deleted_at.is_not(None))
    ).scalars()
    # The same data set can be there once more only where the request named another SOP instance than the data set: that is set aside.
    shared = set(
        connection.execute(
            select(instances.c.sha256).where(
                instances.c.kind.not_in(RECEIVED_KINDS), instances.c.sha256.in_([sha256 for _, sha256 in objects])
            )
        ).scalars()
    )
    return [str(sha256) for sha256 in marked if sha256 not in shared]


def finish(connection: Connection, deletion: Deletion, now: float) -> None:
    """All files of a deletion are gone."""
    connection.execute(update(deletions).where(deletions.c.id == deletion.id).values(finished_at=now))


def finished_since(connection: Connection, since: float) -> list[str]:
    """Studies whose deletion ended at this time or later."""
    return list(connection.execute(select(deletions.c.study_id).where(deletions.c.finished_at >= since).distinct()).scalars())


def restore_object(connection: Connection, sop_instance_uid: str, sha256: str, association_id: int | None, now: float) -> None:
    """An object whose bytes were deleted came again and is kept anew; when the last one is back the study has its images again."""
    this = (instances.c.sop_instance_uid == sop_instance_uid) & (instances.c.sha256 == sha256)
    study_id = connection.execute(select(instances.c.study_id).where(this)).scalar()
    # Of the association that brought it now, whose end the study waits for.
    connection.execute(update(instances).where(this).values(deleted_at=None, received_at=now, association_id=association_id))
    if study_id is None:
        return
    connection.execute(update(studies).where(studies.c.id == study_id, studies.c.held_since.is_(None)).values(held_since=now))
    if not _any(connection, instances.c.id, instances.c.study_id == study_id, instances.c.deleted_at.is_not(None)):
        connection.execute(update(studies).where(studies.c.id == study_id).values(images_deleted_at=None))
        reason = "all objects that had been deleted after the retention time were sent again"
        add_event(connection, study_id, None, reason=reason, actor=_ACTOR, now=now)


def images_deleted_at(connection: Connection, study_id: str) -> float | None:
    """When images of a study were deleted that have not come again; None if all are there."""
    value = connection.execute(select(studies.c.images_deleted_at).where(studies.c.id == study_id)).scalar()
    return None if value is None else float(value)


def _any(connection: Connection, column: Column[int], *conditions: ColumnElement[bool]) -> bool:
    return connection.execute(select(column).where(*conditions).limit(1)).first() is not None
