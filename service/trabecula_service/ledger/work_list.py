"""The work list of a reader: what is to be read first, what is signed, and the search for a patient."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Select, func, or_, select

from trabecula_service.ledger.queries import STUDY_COLUMNS, StudyRow, study_row
from trabecula_service.ledger.reviews import Attention
from trabecula_service.ledger.schema import studies, versions
from trabecula_service.ledger.states import State

COUNT_UP_TO = 1000
"""Counting stops here: a list of more is "1000+" to any reader."""


class Show(StrEnum):
    """Which part of the list."""

    TO_READ = "to-read"
    SIGNED = "signed"
    TROUBLE = "trouble"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFilter:
    """What a reader wants to see; ``attention`` and ``state`` narrow it further."""

    show: Show = Show.ALL
    attention: Attention | None = None
    state: State | None = None
    patient: str = ""
    """Beginning of the name, or the whole patient ID or accession number. Never part of an address."""


def list_work(connection: Connection, wanted: WorkFilter, *, limit: int, offset: int) -> list[StudyRow]:
    """A page of the list: what is to be read by attention, everything else the newest first."""
    order = [studies.c.first_received_at.desc(), studies.c.id.desc()]
    if wanted.show is Show.TO_READ:
        order.insert(0, studies.c.attention.desc())
    # The page is cut from an index before anything is joined.
    page = _wanted(select(studies.c.id), wanted).order_by(*order).limit(limit).offset(offset)
    latest = (versions.c.study_id == studies.c.id) & (versions.c.number == studies.c.latest_version)
    rows = connection.execute(select(*STUDY_COLUMNS).join(versions, latest).where(studies.c.id.in_(page)).order_by(*order))
    return [study_row(row._asdict()) for row in rows]


def count_work(connection: Connection, wanted: WorkFilter) -> int:
    """How many there are, at most ``COUNT_UP_TO`` + 1."""
    some = _wanted(select(studies.c.id), wanted).limit(COUNT_UP_TO + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def _wanted(query: Select[tuple[str]], wanted: WorkFilter) -> Select[tuple[str]]:
    match wanted.show:
        case Show.TO_READ:
            query = query.where(studies.c.verdict == "", studies.c.attention >= int(Attention.ROUTINE))
        case Show.SIGNED:
            query = query.where(studies.c.verdict.in_(["accepted", "amended", "rejected"]))
        case Show.TROUBLE:
            query = query.where(studies.c.state.in_([State.FAILED, State.SKIPPED]))
        case Show.ALL:
            pass
    if wanted.attention is not None:
        query = query.where(studies.c.attention == int(wanted.attention))
    if wanted.state is not None:
        query = query.where(studies.c.state == wanted.state)
    if wanted.patient:
        text = wanted.patient
        name = func.lower(studies.c.patient_name).startswith(text.lower(), autoescape=True)
        query = query.where(or_(name, studies.c.patient_id == text, studies.c.accession_number == text))
    return query
