"""Sessions of people in browsers: a random cookie, of which the ledger keeps a hash; ended by time, log-out, or with the key."""

import hashlib
import secrets

from sqlalchemy import Connection, delete, insert, select

from trabecula_service.ledger.schema import api_keys, logins, sessions
from trabecula_service.security.rights import Principal, UserRole

COOKIE = "trabecula_session"
_LOGIN_SECONDS = 600.0
"""How long one may take at the identity provider."""


def open_session(connection: Connection, *, name: str, role: UserRole, now: float, seconds: float, key_id: str | None = None) -> str:
    """Enter a session; the answer is the value of its cookie."""
    connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
    token = secrets.token_urlsafe(32)
    values = {"token_sha256": _hash(token), "name": name, "role": role, "created_at": now, "expires_at": now + seconds}
    connection.execute(insert(sessions).values(**values, key_id=key_id))
    return token


def session_owner(connection: Connection, token: str, now: float) -> Principal | None:
    """Whose session this is; None if it is over, or the key that opened it was revoked."""
    query = select(sessions, api_keys.c.revoked_at).outerjoin(api_keys, api_keys.c.id == sessions.c.key_id)
    row = connection.execute(query.where(sessions.c.token_sha256 == _hash(token))).first()
    if row is None or row.expires_at <= now or row.revoked_at is not None:
        return None
    return Principal(name=row.name, role=UserRole(row.role), via="session")


def close_session(connection: Connection, token: str) -> None:
    """Log out."""
    connection.execute(delete(sessions).where(sessions.c.token_sha256 == _hash(token)))


def remember_login(connection: Connection, *, state: str, nonce: str, verifier: str, next_path: str, now: float) -> None:
    """Somebody went to the identity provider; what must match when they come back, to whichever process."""
    connection.execute(delete(logins).where(logins.c.created_at <= now - _LOGIN_SECONDS))
    values = {"nonce": nonce, "verifier": verifier, "next_path": next_path, "created_at": now}
    connection.execute(insert(logins).values(state_sha256=_hash(state), **values))


def take_login(connection: Connection, state: str, now: float) -> tuple[str, str, str] | None:
    """Nonce, verifier and path of a log-in that was begun; only once."""
    row = connection.execute(select(logins).where(logins.c.state_sha256 == _hash(state))).first()
    connection.execute(delete(logins).where(logins.c.state_sha256 == _hash(state)))
    return (row.nonce, row.verifier, row.next_path) if row is not None and row.created_at > now - _LOGIN_SECONDS else None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
