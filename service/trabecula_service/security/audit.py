"""The audit trail: who did or saw what, in a chain of hashes that shows every change made behind its back."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, insert, select

from trabecula_service.ledger.schema import audit

_PAGE = 1000
GENESIS = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line: names are those of people and programs of the site, ``study_id`` is our own id; nothing about the patient is in it."""

    at: float
    actor: str
    role: str
    via: str
    address: str
    action: str
    study_id: str
    outcome: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCheck:
    """What a check of the whole trail found; ``broken_at`` is the id of the first row that does not fit."""

    rows: int
    head: str
    broken_at: int | None


def append(connection: Connection, entry: AuditEntry) -> str:
    """Add a line, in the caller's transaction; the hash of the chain up to it."""
    # Writers come one after another, so the row read here is the last one until we commit.
    last = connection.execute(select(audit.c.sha256).order_by(audit.c.id.desc()).limit(1)).scalar()
    sha256 = _link(last or GENESIS, entry)
    connection.execute(insert(audit).values(**asdict(entry), sha256=sha256))
    return sha256


def read_all(connection: Connection, *, after: float = 0.0) -> Iterator[tuple[int, AuditEntry, str]]:
    """Id, entry and hash of all lines since a time, the oldest first."""
    last_id = 0
    while True:
        query = select(audit).where(audit.c.id > last_id, audit.c.at >= after).order_by(audit.c.id).limit(_PAGE)
        rows = connection.execute(query).all()
        for row in rows:
            values = row._asdict()
            row_id, sha256 = int(values.pop("id")), str(values.pop("sha256"))
            yield row_id, AuditEntry(**values), sha256
            last_id = row_id
        if len(rows) < _PAGE:
            return


def check_chain(connection: Connection) -> ChainCheck:
    """Compute the chain anew. Lines cut off at the end are not seen here: compare ``head`` and ``rows`` with what was noted elsewhere."""
    head, count = GENESIS, 0
    for row_id, entry, sha256 in read_all(connection):
        if _link(head, entry) != sha256:
            return ChainCheck(rows=count, head=head, broken_at=row_id)
        head, count = sha256, count + 1
    return ChainCheck(rows=count, head=head, broken_at=None)


def _link(previous: str, entry: AuditEntry) -> str:
    text = json.dumps(asdict(entry), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()
