"""When a study counts as complete: quiet for a while, or received for too long. All from the ledger, so a restart changes nothing."""

from typing import Any

from sqlalchemy import Connection, Row, exists, func, select, update

from trabecula_morphometry.codes import CODE_TABLE, Code
from trabecula_service.ledger.schema import associations, instances, studies, versions
from trabecula_service.ledger.states import State, move
from trabecula_service.queue.port import JobQueue
from trabecula_service.settings.receive import SeriesSettings

_ACTOR = "settle"


def settle_due(connection: Connection, queue: JobQueue, settings: SeriesSettings, now: float) -> int:
    """Close the study versions that are complete and queue them, in the caller's transaction; how many were closed."""
    # A clock that was set back would leave a study waiting for hours; what lies in the future happened now at the latest.
    receiving = versions.c.state == State.RECEIVING
    connection.execute(update(versions).where(receiving, versions.c.last_activity_at > now).values(last_activity_at=now))
    connection.execute(update(versions).where(receiving, versions.c.first_object_at > now).values(first_object_at=now))
    settled = 0
    with_study = select(versions, studies.c.announced_objects).join(studies, studies.c.id == versions.c.study_id)
    # Those that are complete at the same look are queued in the order in which they came.
    in_order = with_study.where(receiving).order_by(versions.c.first_object_at, versions.c.id)
    for version in connection.execute(in_order).all():
        reason = _why_complete(connection, version, settings, now)
        if reason:
            _settle(connection, queue, version, reason, now)
            settled += 1
    return settled


def _why_complete(connection: Connection, version: Row[*tuple[Any, ...]], settings: SeriesSettings, now: float) -> str:
    if now - version.first_object_at >= settings.hard_cap_seconds:
        return f"still receiving {settings.hard_cap_seconds:g} s after the first object"
    if version.announced_objects is not None:
        return _why_complete_as_announced(connection, version, settings, now)
    if now - version.last_activity_at < settings.quiet_seconds or _still_sending(connection, version.study_id):
        return ""
    return f"no object for {settings.quiet_seconds:g} s and its associations have ended"


def _why_complete_as_announced(connection: Connection, version: Row[*tuple[Any, ...]], settings: SeriesSettings, now: float) -> str:
    in_study = (instances.c.study_id == version.study_id) & instances.c.kind.in_(["ct", "other"])
    came = connection.execute(select(func.count()).select_from(instances).where(in_study)).scalar_one()
    if came >= version.announced_objects:
        return f"all {version.announced_objects} announced objects have come"
    patience = max(settings.announced_seconds, settings.quiet_seconds)
    if now - version.last_activity_at < patience or _still_sending(connection, version.study_id):
        return ""
    return f"{came} of {version.announced_objects} announced objects have come, and none for {patience:g} s"


def _still_sending(connection: Connection, study_id: str) -> bool:
    open_one = (
        select(associations.c.id)
        .join(instances, instances.c.association_id == associations.c.id)
        .where(instances.c.study_id == study_id, associations.c.closed_at.is_(None))
    )
    return bool(connection.execute(select(exists(open_one))).scalar())


def _settle(connection: Connection, queue: JobQueue, version: Row[*tuple[Any, ...]], reason: str, now: float) -> None:
    move(connection, version.id, State.SETTLED, reason=reason, actor=_ACTOR, now=now)
    images = connection.execute(
        select(func.count()).select_from(instances).where(instances.c.study_id == version.study_id, instances.c.kind == "ct")
    ).scalar_one()
    if images == 0:
        entry = CODE_TABLE[Code.NOT_CT]
        connection.execute(update(versions).where(versions.c.id == version.id).values(code=Code.NOT_CT))
        refusal = f"{Code.NOT_CT}: the study has no CT image. {entry.advice}"
        move(connection, version.id, State.SKIPPED, reason=refusal, actor=_ACTOR, now=now)
        return
    gone = connection.execute(
        select(func.count())
        .select_from(instances)
        .where(instances.c.study_id == version.study_id, instances.c.kind == "ct", instances.c.deleted_at.is_not(None))
    ).scalar_one()
    if gone:
        # A result of the few new images alone would take the place of the good one.
        refusal = f"{gone} of {images} images were deleted after the retention time; send the whole study again, then try again"
        move(connection, version.id, State.SKIPPED, reason=refusal, actor=_ACTOR, now=now)
        return
    # Whole seconds: the documents carry no fractions, and each attempt must give the same bytes.
    connection.execute(update(versions).where(versions.c.id == version.id).values(result_time_at=float(int(now))))
    queue.enqueue(connection, version.id, now)
    move(connection, version.id, State.QUEUED, reason=f"{images} CT images wait for a worker", actor=_ACTOR, now=now)
