"""The calibration registry in the ledger: entries, checks and changes of scanners are only ever added."""

from datetime import date

from sqlalchemy import Connection, insert, select

from trabecula_calibration.changes import ScannerChange
from trabecula_calibration.drift import DriftRules, QaCheck
from trabecula_calibration.entries import CalibrationEntry, CalibrationEntryError, entry_toml, parse_entries
from trabecula_calibration.registry import Registry
from trabecula_service.ledger.schema import calibration_changes, calibration_checks, calibration_entries


def add_entries(connection: Connection, entries: tuple[CalibrationEntry, ...], *, by: str, now: float) -> tuple[CalibrationEntry, ...]:
    """Add entries; one that is there already with the same content is passed over.

    Returns
    -------
    added : the entries that were new.

    Raises
    ------
    CalibrationEntryError : an id is taken by another content, or ``supersedes`` names an entry that is not there.
    """
    known = {
        row.id: row.content_sha256 for row in connection.execute(select(calibration_entries.c.id, calibration_entries.c.content_sha256))
    }
    added = []
    names = {*known, *(entry.id for entry in entries)}
    for entry in entries:
        if entry.supersedes is not None and entry.supersedes not in names:
            raise CalibrationEntryError(f"it supersedes {entry.supersedes}, which is not there", where=entry.id, hint="check the id")
        if entry.id in known:
            if known[entry.id] != entry.content_sha256:
                raise CalibrationEntryError(
                    "an entry of this id is there with other content",
                    where=entry.id,
                    hint='entries are never changed: give a new id and supersedes = "..."',
                )
            continue
        connection.execute(
            insert(calibration_entries).values(
                id=entry.id, content_sha256=entry.content_sha256, toml=entry_toml(entry), entered_at=now, entered_by=by
            )
        )
        added.append(entry)
    return tuple(added)


def add_checks(connection: Connection, checks: tuple[QaCheck, ...], *, by: str, now: float) -> int:
    """Add QA checks; one that is there already (same entry, day and reading) is passed over. Returns how many were new.

    Raises
    ------
    CalibrationEntryError : a check of an entry that is not there.
    """
    entries = set(connection.execute(select(calibration_entries.c.id)).scalars())
    columns = (calibration_checks.c.entry_id, calibration_checks.c.on_day, calibration_checks.c.reading_mg_cm3)
    known = {tuple(row) for row in connection.execute(select(*columns))}
    added = 0
    for check in checks:
        if check.entry_id not in entries:
            raise CalibrationEntryError("a check of an entry that is not there", where=check.entry_id, hint="add the entry first")
        row = (check.entry_id, check.on.isoformat(), check.reading_mg_cm3)
        if row not in known:
            values = dict(zip(("entry_id", "on_day", "reading_mg_cm3"), row, strict=True))
            connection.execute(insert(calibration_checks).values(**values, entered_at=now, entered_by=check.by or by))
            added += 1
    return added


def add_changes(connection: Connection, changes: tuple[ScannerChange, ...], *, by: str, now: float) -> int:
    """Add changes of scanners; one that is there already (same scanner, day and words) is passed over. Returns how many were new."""
    columns = (
        calibration_changes.c.manufacturer,
        calibration_changes.c.device_serial,
        calibration_changes.c.on_day,
        calibration_changes.c.what,
    )
    known = {tuple(row) for row in connection.execute(select(*columns))}
    added = 0
    for change in changes:
        row = (change.manufacturer, change.device_serial, change.on.isoformat(), change.what)
        if row not in known:
            values = dict(zip((column.name for column in columns), row, strict=True))
            connection.execute(insert(calibration_changes).values(**values, entered_at=now, entered_by=change.by or by))
            known.add(row)
            added += 1
    return added


def load_registry(connection: Connection, rules: DriftRules | None = None) -> Registry:
    """All entries, checks and changes of the ledger, in the order in which they were entered."""
    texts = connection.execute(
        select(calibration_entries.c.toml).order_by(calibration_entries.c.entered_at, calibration_entries.c.id)
    ).scalars()
    entries = [entry for text in texts for entry in parse_entries(text)]
    rows = connection.execute(select(calibration_checks).order_by(calibration_checks.c.id))
    checks = [
        QaCheck(entry_id=row.entry_id, on=date.fromisoformat(row.on_day), reading_mg_cm3=row.reading_mg_cm3, by=row.entered_by)
        for row in rows
    ]
    changes = [
        ScannerChange(
            manufacturer=row.manufacturer,
            device_serial=row.device_serial,
            on=date.fromisoformat(row.on_day),
            what=row.what,
            by=row.entered_by,
        )
        for row in connection.execute(select(calibration_changes).order_by(calibration_changes.c.id))
    ]
    return Registry.of(entries, checks, rules, changes)
