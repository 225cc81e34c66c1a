"""The work list of a reader: what is to be read first, what is signed, and the search for a patient."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, union_all

from trabecula_service.ledger.queries import STUDY_COLUMNS, StudyRow, study_row
from trabecula_service.ledger.reviews import Attention
from trabecula_service.ledger.schema import studies, versions
from trabecula_service.ledger.states import State
from trabecula_service.review.edits import Verdict

COUNT_UP_TO = 1000
"""Counting stops here: a list of more is "1000+" to any reader."""


_LAST_SIGN = "\U0010fffd"
_FIRST_OF_ANOTHER_SCRIPT = 0x0600
"""Arabic; Latin, Greek and Cyrillic names stand before it."""


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
    if wanted.show is Show.TO_READ and wanted.attention is None:
        order.insert(0, studies.c.attention.desc())
    # The page is cut from an index before anything is joined; each part is read in the order of its index.
    parts = _parts(connection, wanted)
    if len(parts) == 1:
        page = parts[0].order_by(*order).limit(limit).offset(offset)
    else:
        cut = [part.add_columns(studies.c.first_received_at).order_by(*order).limit(limit + offset).subquery() for part in parts]
        merged = union_all(*(select(part.c.id, part.c.first_received_at) for part in cut)).subquery()
        page = select(merged.c.id).order_by(merged.c.first_received_at.desc(), merged.c.id.desc()).limit(limit).offset(offset)
    latest = (versions.c.study_id == studies.c.id) & (versions.c.number == studies.c.latest_version)
    rows = connection.execute(select(*STUDY_COLUMNS).join(versions, latest).where(studies.c.id.in_(page)).order_by(*order))
    return [study_row(row._asdict()) for row in rows]


def count_work(connection: Connection, wanted: WorkFilter) -> int:
    """How many there are, at most ``COUNT_UP_TO`` + 1."""
    most = COUNT_UP_TO + 1
    parts = [part.limit(most).subquery() for part in _parts(connection, wanted)]
    found = connection.execute(select(*(select(func.count()).select_from(part).scalar_subquery() for part in parts))).one()
    return min(sum(map(int, found)), most)


def _parts(connection: Connection, wanted: WorkFilter) -> list[Select[tuple[str]]]:
    """The list as parts that have nothing in common, each with one value per column that an index begins with."""
    query = select(studies.c.id)
    if wanted.state is not None:
        query = query.where(studies.c.state == wanted.state)
    if wanted.patient:
        query = query.where(_is_patient(wanted.patient, in_code_order=connection.dialect.name == "sqlite"))
    if wanted.attention is not None:
        query = query.where(studies.c.attention == int(wanted.attention))
    match wanted.show:
        case Show.TO_READ:
            unread = query.where(studies.c.verdict == "")
            return [unread if wanted.attention is not None else unread.where(studies.c.attention >= int(Attention.ROUTINE))]
        case Show.SIGNED:
            return [query.where(studies.c.verdict == verdict.value) for verdict in Verdict]
        case Show.TROUBLE:
            return [query.where(studies.c.state == state) for state in (State.FAILED, State.SKIPPED)]
        case Show.ALL:
            return [query]


def _is_patient(text: str, *, in_code_order: bool) -> ColumnElement[bool]:
    """Beginning of the name, in Latin letters or as the patient writes it, or the whole patient ID or accession number."""
    name = text.replace(", ", "^")
    if any(ord(sign) >= _FIRST_OF_ANOTHER_SCRIPT for sign in name):
        # The name in its own script stands behind the Latin one, where no index helps.
        return or_(studies.c.patient_name.contains(f"={name}", autoescape=True), studies.c.patient_name.startswith(name, autoescape=True))
    # Names are written in capitals, or as words. Where text is ordered by its codes an index serves a range; PostgreSQL makes one of LIKE.
    begins = [
        and_(studies.c.patient_name >= spelling, studies.c.patient_name < spelling + _LAST_SIGN)
        if in_code_order
        else studies.c.patient_name.startswith(spelling, autoescape=True)
        for spelling in sorted({name, name.lower(), name.upper(), name.title()})
    ]
    return or_(*begins, studies.c.patient_id == text, studies.c.accession_number == text)
