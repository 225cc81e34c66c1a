"""API keys: 256 random bits, shown once, of which the ledger keeps a hash.

A plain SHA-256 is enough: there is nothing to guess in 256 random bits, which slow hashes protect short passwords against.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from trabecula_morphometry.errors import SettingsError
from trabecula_service.ledger.schema import api_keys
from trabecula_service.security.rights import Principal, UserRole

_PREFIX = "trabecula_"
_FORM = re.compile(rf"{_PREFIX}([0-9a-f]{{8}})_([A-Za-z0-9_-]{{43}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """What the ledger knows of a key; not the key itself."""

    id: str
    name: str
    role: UserRole
    created_at: float
    created_by: str
    expires_at: float | None
    revoked_at: float | None


def new_key(connection: Connection, *, name: str, role: UserRole, by: str, now: float, expires_at: float | None = None) -> str:
    """Make a key; the answer is the only time that it can be read.

    Raises
    ------
    SettingsError
        A key of this name is in use, or the name cannot be one.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}", name):
        hint = "1 to 64 letters, digits, blanks or . _ @ -, of the program or person that will use it"
        raise SettingsError("this cannot be the name of a key", where=f"name {name!r}", hint=hint)
    used = select(api_keys.c.id).where(api_keys.c.name == name, api_keys.c.revoked_at.is_(None))
    if connection.execute(used).first() is not None:
        raise SettingsError("a key of this name is in use", where=f"name {name}", hint="revoke it first, or take another name")
    key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    values = {"id": key_id, "name": name, "role": role, "secret_sha256": _hash(secret), "created_at": now, "created_by": by}
    connection.execute(insert(api_keys).values(**values, expires_at=expires_at))
    return f"{_PREFIX}{key_id}_{secret}"


def owner_of(connection: Connection, key: str, now: float) -> Principal | None:
    """Whom a key belongs to; None if it is none of ours, revoked or expired."""
    parts = _FORM.fullmatch(key)
    if parts is None:
        return None
    row = connection.execute(select(api_keys).where(api_keys.c.id == parts[1])).first()
    if row is None or not hmac.compare_digest(row.secret_sha256, _hash(parts[2])):
        return None
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        return None
    return Principal(name=row.name, role=UserRole(row.role), via="key")


def revoke_key(connection: Connection, key_id: str, now: float) -> bool:
    """The key is good for nothing from now on; False if there is no such key in use."""
    this = (api_keys.c.id == key_id) & api_keys.c.revoked_at.is_(None)
    return connection.execute(update(api_keys).where(this).values(revoked_at=now)).rowcount == 1


def list_keys(connection: Connection) -> list[KeyRow]:
    """All keys that ever were, the oldest first."""
    columns = [column for column in api_keys.c if column.name != "secret_sha256"]
    rows = connection.execute(select(*columns).order_by(api_keys.c.created_at, api_keys.c.id))
    return [KeyRow(**{**row._asdict(), "role": UserRole(row.role)}) for row in rows]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
