"""``trabecula key``: keys for people and programs; ``trabecula audit``: the audit trail."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trabecula_service.security.rights import UserRole

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from trabecula_service.ledger.database import Ledger

Config = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML); TRABECULA_CONFIG names one too.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder; replaces the key `data` of the file.")]

key = typer.Typer(help="Keys for the page and the REST interface. The service may run meanwhile.", no_args_is_help=True)
audit = typer.Typer(help="The audit trail: who saw or did what.", no_args_is_help=True)


@key.command()
def add(
    name: Annotated[str, typer.Argument(help="Who will use it: a person or a program.")],
    role: Annotated[UserRole, typer.Option("--role", help="What one may do with it.")],
    days: Annotated[float | None, typer.Option("--days", min=0.01, help="It ends after so many days; by default never.")] = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Make a key and print it, this once; the ledger keeps only a hash of it."""
    from trabecula_service.security.keys import new_key

    with _ledger(config, data) as (ledger, now), ledger.write() as connection:
        expires_at = now + days * 86_400.0 if days is not None else None
        made = new_key(connection, name=name, role=role, by="command line", now=now, expires_at=expires_at)
        _note(connection, now, f"key {name} with role {role} made")
    typer.echo(made)


@key.command("list")
def list_all(config: Config = None, data: Data = None) -> None:
    """All keys, also those that are over."""
    from trabecula_service.security.keys import list_keys

    with _ledger(config, data) as (ledger, now), ledger.read() as connection:
        rows = list_keys(connection)
    for row in rows:
        over = "revoked" if row.revoked_at is not None else "expired" if row.expires_at is not None and row.expires_at <= now else "in use"
        ends = f", until {_day(row.expires_at)}" if row.expires_at is not None and over == "in use" else ""
        typer.echo(f"{row.id}  {row.role:<10} {over:<8} {row.name} (made {_day(row.created_at)}{ends})")


@key.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Its id, as `trabecula key list` shows it.")], config: Config = None, data: Data = None
) -> None:
    """End a key, and every session that was opened with it, at once."""
    from trabecula_service.security.keys import revoke_key

    with _ledger(config, data) as (ledger, now):
        with ledger.write() as connection:
            found = revoke_key(connection, key_id, now)
            if found:
                _note(connection, now, f"key {key_id} revoked")
        if not found:
            typer.echo(f"trabecula: no key {key_id} is in use; `trabecula key list` shows all", err=True)
            raise typer.Exit(2)


@audit.command()
def verify(config: Config = None, data: Data = None) -> None:
    """Compute the chain of hashes anew; ends with 1 if a line was changed or removed. Note the last hash elsewhere to see a cut-off end."""
    from trabecula_service.security.audit import check_chain

    with _ledger(config, data) as (ledger, _now), ledger.read() as connection:
        found = check_chain(connection)
    if found.broken_at is not None:
        typer.echo(f"BROKEN at line {found.broken_at}, after {found.rows} good ones: a line was changed or removed there")
        raise typer.Exit(1)
    typer.echo(f"{found.rows} lines, unbroken; last hash {found.head}")


@audit.command()
def export(
    out: Annotated[Path, typer.Option("--out", help="File to write: one DICOM audit message (XML) a line.")],
    since: Annotated[datetime | None, typer.Option("--since", help="Only from this day on (UTC).")] = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Write the trail as DICOM audit messages (PS3.15 A.5), for a site's audit repository."""
    from trabecula_service.security.audit import read_all
    from trabecula_service.security.dicom_audit import audit_message

    after = since.replace(tzinfo=UTC).timestamp() if since else 0.0
    count = 0
    with _ledger(config, data) as (ledger, _now), ledger.read() as connection, out.open("w", encoding="utf-8") as file:
        for _, entry, _ in read_all(connection, after=after):
            file.write(audit_message(entry) + "\n")
            count += 1
    typer.echo(f"{count} messages written to {out}")


def _note(connection: "Connection", now: float, detail: str) -> None:
    from trabecula_service.security.audit import AuditEntry, append

    values = {"actor": "command line", "role": "admin", "via": "loopback", "address": "", "study_id": "", "outcome": "ok"}
    append(connection, AuditEntry(at=now, action="key", detail=detail, **values))


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


@contextmanager
def _ledger(config: Path | None, data: Path | None) -> "Iterator[tuple[Ledger, float]]":
    """The ledger that the settings name, and the time; what is wrong ends the program with 2 and one line."""
    import time

    from trabecula_morphometry.errors import SettingsError
    from trabecula_service.ledger.database import ledger_place, open_ledger
    from trabecula_service.settings.read import read_settings

    try:
        settings = read_settings(config, data=data)
        if settings.ledger.postgresql is None:
            settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        ledger = open_ledger(ledger_place(settings.ledger, settings.data), may_migrate=settings.ledger.migrate)
        try:
            yield ledger, time.time()
        finally:
            ledger.close()
    except SettingsError as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(2) from error
