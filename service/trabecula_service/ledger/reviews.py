"""Readers' verdicts in the ledger: each makes a new version that supersedes the one it was given on."""

from dataclasses import dataclass
from enum import IntEnum

from sqlalchemy import Connection, Row, insert, select, update

from trabecula_service.ledger.outbox import cancel_deliveries
from trabecula_service.ledger.schema import documents, reviews, studies, versions
from trabecula_service.ledger.states import State, StateError, add_event, move
from trabecula_service.queue.port import JobQueue, Priority
from trabecula_service.result import Result
from trabecula_service.review.edits import Edits, Verdict

_OPEN_TO_REVIEW = frozenset({State.DELIVERING, State.DONE, State.FAILED})
_ACTOR = "review"


class Attention(IntEnum):
    """How soon a reader should look at a result; the order of the work list."""

    NONE = 0
    """Nothing was measured."""
    ROUTINE = 1
    NOTE = 2
    """Mild height loss, or a density in the middle band."""
    FIRST = 3
    """Height loss from 25 %, or low density."""


def attention_of(result: Result | None) -> Attention:
    """What a result asks of its reader."""
    if result is None or result.status == "not_evaluable":
        return Attention.NONE
    if result.fractures.headline or result.density.category == "low":
        return Attention.FIRST
    noted = (result.fractures.max_grade or 0) >= 1 or result.density.category == "intermediate"
    return Attention.NOTE if noted else Attention.ROUTINE


def note_result(connection: Connection, version_id: int, result: Result | None) -> None:
    """Tell the work list what the latest version of a study holds, and whether a reader stands for it."""
    latest = select(versions.c.study_id).where(versions.c.id == version_id, versions.c.number == studies.c.latest_version)
    verdict = result.signature.verdict if result and result.signature else ""
    values = {"attention": int(attention_of(result)), "verdict": verdict}
    connection.execute(update(studies).where(studies.c.id.in_(latest)).values(**values))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRow:
    """One verdict."""

    version_number: int
    base_version_number: int
    verdict: Verdict
    reader: str
    organization: str
    reason: str
    edits: Edits
    signed_at: float
    entered_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReview:
    """A verdict as it is given."""

    verdict: Verdict
    reader: str
    organization: str
    reason: str
    edits: Edits
    entered_by: str


def enter_review(connection: Connection, queue: JobQueue, study_id: str, base_version: int, review: NewReview, *, now: float) -> int:
    """Write a verdict down, supersede the version it is about, and queue the signed one; the number of the new version.

    Raises
    ------
    KeyError
        If there is no such study.
    StateError
        If the version is not the latest, has no result, or is still being worked on.
    """
    study = connection.execute(select(studies).where(studies.c.id == study_id)).first()
    if study is None:
        raise KeyError(study_id)
    base = connection.execute(
        select(versions).where(versions.c.study_id == study_id, versions.c.number == study.latest_version).with_for_update()
    ).one()
    if base.number != base_version:
        raise StateError(
            f"version {base_version} has been superseded by version {base.number}: load the page again", where=f"study {study_id}"
        )
    if State(base.state) not in _OPEN_TO_REVIEW or base.result_json is None or attention_of(Result.from_json(base.result_json)) == 0:
        raise StateError(f"version {base.number} is {base.state} and has nothing to sign", where=f"study {study_id}")
    if study.images_deleted_at is not None:
        what = "the images were deleted after the retention time: send the study again, then sign"
        raise StateError(what, where=f"study {study_id}")
    number = int(base.number) + 1
    reason = f"version {base.number} {review.verdict.value} by a reader; version {number} takes its place"
    move(connection, base.id, State.SUPERSEDED, reason=reason, actor=_ACTOR, now=now)
    cancel_deliveries(connection, base.id, reason)
    # Until the new one is made the list shows what was looked at; a rejected finding is not shown as one any more.
    shown = "" if review.verdict is Verdict.REJECTED else str(base.headline)
    version_id = _new_version(connection, study_id, number, reason, shown, now)
    connection.execute(
        insert(reviews).values(
            version_id=version_id,
            base_version_id=base.id,
            verdict=review.verdict.value,
            reader=review.reader,
            organization=review.organization,
            reason=review.reason,
            edits_json=review.edits.model_dump_json(),
            signed_at=float(int(now)),
            entered_by=review.entered_by,
        )
    )
    # Somebody waits for it, and it takes seconds: it goes before every analysis.
    values = {"latest_version": number, "priority": max(int(study.priority), int(Priority.STAT)), "verdict": review.verdict.value}
    connection.execute(update(studies).where(studies.c.id == study_id).values(**values))
    connection.execute(update(versions).where(versions.c.id == version_id).values(state=State.QUEUED))
    queue.enqueue(connection, version_id, now)
    add_event(
        connection,
        study_id,
        number,
        from_state="",
        to_state=State.QUEUED,
        reason="the signed documents are being made",
        actor=_ACTOR,
        now=now,
    )
    return number


def _new_version(connection: Connection, study_id: str, number: int, reason: str, headline: str, now: float) -> int:
    row = insert(versions).values(
        study_id=study_id,
        number=number,
        state=State.SETTLED,
        reason=reason,
        headline=headline,
        state_since=now,
        first_object_at=now,
        last_activity_at=now,
        # Whole seconds: the documents carry no fractions, and each attempt must give the same bytes.
        result_time_at=float(int(now)),
    )
    key = connection.execute(row).inserted_primary_key
    return int(key[0]) if key else 0


def list_reviews(connection: Connection, study_id: str) -> list[ReviewRow]:
    """All verdicts on a study, the newest first."""
    base = versions.alias("base")
    rows = connection.execute(
        select(reviews, versions.c.number.label("number"), base.c.number.label("base_number"))
        .join(versions, versions.c.id == reviews.c.version_id)
        .join(base, base.c.id == reviews.c.base_version_id)
        .where(versions.c.study_id == study_id)
        .order_by(reviews.c.id.desc())
    )
    return [_review_row(row) for row in rows]


def _review_row(row: Row[tuple[object, ...]]) -> ReviewRow:
    return ReviewRow(
        version_number=row.number,
        base_version_number=row.base_number,
        verdict=Verdict(row.verdict),
        reader=row.reader,
        organization=row.organization,
        reason=row.reason,
        edits=Edits.model_validate_json(row.edits_json),
        signed_at=row.signed_at,
        entered_by=row.entered_by,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedVersion:
    """A verdict with what its signed version is made from: the earlier result and its documents (name to path below the data folder)."""

    review: ReviewRow
    result_json: str
    documents: dict[str, str]


def review_of_version(connection: Connection, version_id: int) -> ReviewedVersion | None:
    """The verdict that a version came of, None for a version that was analysed."""
    base = versions.alias("base")
    row = connection.execute(
        select(reviews, versions.c.number.label("number"), base.c.number.label("base_number"), base.c.result_json)
        .join(versions, versions.c.id == reviews.c.version_id)
        .join(base, base.c.id == reviews.c.base_version_id)
        .where(reviews.c.version_id == version_id)
    ).first()
    if row is None:
        return None
    files = connection.execute(select(documents.c.name, documents.c.path).where(documents.c.version_id == row.base_version_id)).all()
    return ReviewedVersion(review=_review_row(row), result_json=row.result_json, documents={file.name: file.path for file in files})
