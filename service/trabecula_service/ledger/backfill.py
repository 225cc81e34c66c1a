"""The list of a backfill in the ledger: which studies of the archive were found, asked for, and fetched; a stop loses nothing of it."""

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import Connection, func, insert, select, update

from trabecula_service.ledger.schema import backfill_studies, studies, versions


class Step(StrEnum):
    """How far the fetching of a study is."""

    LISTED = "listed"
    REQUESTED = "requested"
    FETCHED = "fetched"
    FAILED = "failed"


def enter_found(connection: Connection, study_uids: Sequence[str], study_date: str, now: float) -> int:
    """Enter the studies of one day that are not in the list yet; how many. One that we have already counts as fetched."""
    known = set(
        connection.execute(
            select(backfill_studies.c.study_instance_uid).where(backfill_studies.c.study_instance_uid.in_(study_uids))
        ).scalars()
    )
    here = set(connection.execute(select(studies.c.study_instance_uid).where(studies.c.study_instance_uid.in_(study_uids))).scalars())
    rows = [
        {
            "study_instance_uid": uid,
            "study_date": study_date,
            "step": Step.FETCHED if uid in here else Step.LISTED,
            "note": "was here already" if uid in here else "",
            "changed_at": now,
        }
        for uid in study_uids
        if uid not in known
    ]
    if rows:
        connection.execute(insert(backfill_studies), rows)
    return len(rows)


def next_study(connection: Connection, first: str, last: str, *, most_attempts: int) -> str | None:
    """The study to fetch next: the latest day first, those that failed once all others were tried."""
    query = (
        select(backfill_studies.c.study_instance_uid)
        .where(
            backfill_studies.c.study_date.between(first, last),
            backfill_studies.c.step != Step.FETCHED,
            backfill_studies.c.attempts < most_attempts,
        )
        .order_by(backfill_studies.c.attempts, backfill_studies.c.study_date.desc(), backfill_studies.c.study_instance_uid)
        .limit(1)
    )
    found = connection.execute(query).scalar()
    return str(found) if found is not None else None


def mark(connection: Connection, study_uid: str, step: Step, note: str, now: float) -> None:
    """Enter a step; asking for a study counts as an attempt."""
    attempts = backfill_studies.c.attempts + (1 if step is Step.REQUESTED else 0)
    values = {"step": step, "note": note, "changed_at": now, "attempts": attempts}
    connection.execute(update(backfill_studies).where(backfill_studies.c.study_instance_uid == study_uid).values(**values))


def is_backfilled(connection: Connection, study_uid: str) -> bool:
    """Whether a study came because we asked an archive for it."""
    query = select(backfill_studies.c.attempts).where(backfill_studies.c.study_instance_uid == study_uid)
    return (connection.execute(query).scalar() or 0) > 0


def summary(connection: Connection, first: str, last: str) -> dict[str, int]:
    """Number of studies by how far they are: steps of fetching, and of those fetched their states and codes."""
    days = backfill_studies.c.study_date.between(first, last)
    counts: dict[str, int] = {}
    steps = (
        select(backfill_studies.c.step, func.count()).where(days, backfill_studies.c.step != Step.FETCHED).group_by(backfill_studies.c.step)
    )
    for step, count in connection.execute(steps):
        counts[str(step)] = int(count)
    latest = (versions.c.study_id == studies.c.id) & (versions.c.number == studies.c.latest_version)
    fates = (
        select(studies.c.state, versions.c.code, func.count())
        .select_from(backfill_studies)
        .outerjoin(studies, studies.c.study_instance_uid == backfill_studies.c.study_instance_uid)
        .outerjoin(versions, latest)
        .where(days, backfill_studies.c.step == Step.FETCHED)
        .group_by(studies.c.state, versions.c.code)
    )
    for state, code, count in connection.execute(fates):
        name = f"{state} ({code})" if code else str(state or "sent, but not to us")
        counts[name] = counts.get(name, 0) + int(count)
    return counts


def failures(connection: Connection, first: str, last: str) -> dict[str, int]:
    """Why studies could not be fetched, with how many each."""
    query = (
        select(backfill_studies.c.note, func.count())
        .where(backfill_studies.c.study_date.between(first, last), backfill_studies.c.step == Step.FAILED)
        .group_by(backfill_studies.c.note)
        .order_by(func.count().desc())
    )
    return {str(note): int(count) for note, count in connection.execute(query)}
