"""Studies for programs: filtered, the newest first, by page number or by a cursor that stays right while studies arrive."""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, or_, select

from trabecula_morphometry.errors import TrabeculaError
from trabecula_service.ledger.queries import STUDY_COLUMNS, StudyRow, study_row
from trabecula_service.ledger.schema import studies, versions
from trabecula_service.ledger.states import State


class CursorError(TrabeculaError):
    """A cursor that was not given by this service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFilter:
    """What a program wants; None does not narrow. ``verdict`` "" means studies that no reader has looked at."""

    state: State | None = None
    verdict: str | None = None
    attention: int | None = None
    study_instance_uid: str | None = None
    since: float | None = None
    until: float | None = None


def list_filtered(
    connection: Connection, wanted: StudyFilter, *, limit: int, offset: int = 0, after: str | None = None
) -> tuple[list[StudyRow], str | None]:
    """A page of studies and the cursor of the next one, None at the end.

    Raises
    ------
    CursorError
        If ``after`` is no cursor.
    """
    # The page is cut from an index before anything is joined: the joins would otherwise be made for every row that is passed over.
    page = select(studies.c.id)
    conditions = [
        column == value
        for column, value in (
            (studies.c.state, wanted.state),
            (studies.c.verdict, wanted.verdict),
            (studies.c.attention, wanted.attention),
            (studies.c.study_instance_uid, wanted.study_instance_uid),
        )
        if value is not None
    ]
    if wanted.since is not None:
        conditions.append(studies.c.first_received_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(studies.c.first_received_at < wanted.until)
    if after is not None:
        at, study_id = _place(after)
        conditions.append(or_(studies.c.first_received_at < at, and_(studies.c.first_received_at == at, studies.c.id < study_id)))
        # The same once more as one plain bound, which an index can use.
        conditions.append(studies.c.first_received_at <= at)
    order = (studies.c.first_received_at.desc(), studies.c.id.desc())
    page = page.where(*conditions).order_by(*order).limit(limit + 1).offset(offset)
    latest = (versions.c.study_id == studies.c.id) & (versions.c.number == studies.c.latest_version)
    found = connection.execute(select(*STUDY_COLUMNS).join(versions, latest).where(studies.c.id.in_(page)).order_by(*order))
    rows = [study_row(row._asdict()) for row in found]
    return rows[:limit], cursor_of(rows[limit - 1]) if len(rows) > limit else None


def cursor_of(row: StudyRow) -> str:
    """The cursor that begins after a study."""
    return f"{row.first_received_at!r}_{row.id}"


def _place(cursor: str) -> tuple[float, str]:
    at, _, study_id = cursor.partition("_")
    try:
        return float(at), study_id
    except ValueError as error:
        raise CursorError("this is no cursor of ours", where="after", hint='give the "next" of the page before') from error
