"""Backup of the embedded data folder while the service runs, and its restoration.

The ledger is copied first, by SQLite's own online backup, as it was at one moment. Every file that it names was there before it was
named and none is ever changed, so copying the named files afterwards gives a whole; what came later is in the next backup. Where a file
was deleted after its retention time meanwhile, the ledger is copied anew. Objects and documents that a backup folder holds already are
not copied again.
"""

import hashlib
import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from trabecula_morphometry.errors import SettingsError
from trabecula_service.receive.object_store import ObjectStore, sync_folder

_LEDGER, _SUMMARY = "ledger.sqlite", "backup.json"
_MOST_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSummary:
    """What a backup holds, or what a restoration found."""

    objects: int
    documents: int
    copied: int
    damaged: int = 0


def back_up(data: Path, target: Path) -> BackupSummary:
    """Copy a data folder, in use or not, to ``target``; a folder that holds an earlier backup is brought up to date.

    Raises
    ------
    SettingsError
        There is no embedded ledger there, or a file that the ledger names cannot be copied.
    """
    if not (data / _LEDGER).is_file():
        hint = "name the data folder of an embedded installation; with PostgreSQL use pg_dump first, then copy the shared folder"
        raise SettingsError("there is no ledger to back up", where=str(data), hint=hint)
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = target / f"{_LEDGER}.new"
    copied = 0
    for last_round in (False,) * (_MOST_ROUNDS - 1) + (True,):
        _copy_ledger(data / _LEDGER, fresh)
        objects, documents = _named_files(fresh)
        missing = False
        for relative, _ in [*objects, *documents]:
            try:
                copied += _copy(data / relative, target / relative)
            except OSError as error:
                missing = isinstance(error, FileNotFoundError)
                if last_round or not missing:
                    raise SettingsError("a file cannot be backed up", where=str(data / relative), hint=error.strerror or "") from error
                break
        if not missing:
            break
    # Last, so that the ledger of a backup never names what is not there.
    _sync(fresh)
    fresh.replace(target / _LEDGER)
    summary = BackupSummary(objects=len(objects), documents=len(documents), copied=copied)
    (target / _SUMMARY).write_text(json.dumps(asdict(summary)) + "\n")
    sync_folder(target)
    return summary


def _copy_ledger(ledger: Path, fresh: Path) -> None:
    fresh.unlink(missing_ok=True)
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as source, closing(sqlite3.connect(fresh)) as copy:
        source.backup(copy)
        # One file without companions, whatever it was made from.
        copy.execute("PRAGMA journal_mode=DELETE")


def restore(backup: Path, data: Path) -> BackupSummary:
    """Make a data folder from a backup, every file held against its hash.

    Raises
    ------
    SettingsError
        The backup has no ledger, or the data folder is not empty.
    """
    if not (backup / _LEDGER).is_file():
        raise SettingsError("this is no backup", where=str(backup), hint="name the folder that `trabecula backup` wrote")
    if data.exists() and any(data.iterdir()):
        raise SettingsError("the data folder is not empty", where=str(data), hint="name a new folder; nothing is ever overwritten")
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    objects, documents = _named_files(backup / _LEDGER)
    copied = damaged = 0
    for relative, _ in [*objects, *documents]:
        try:
            copied += _copy(backup / relative, data / relative)
        except OSError:
            damaged += 1
    store = ObjectStore(data / "objects")
    damaged += sum((data / relative).exists() and not store.is_whole(relative.stem, size) for relative, size in objects)
    damaged += sum((data / relative).exists() and _sha256(data / relative) != sha256 for relative, sha256 in documents)
    _copy(backup / _LEDGER, data / _LEDGER)
    sync_folder(data)
    return BackupSummary(objects=len(objects), documents=len(documents), copied=copied, damaged=damaged)


def _named_files(ledger: Path) -> tuple[list[tuple[Path, int]], list[tuple[Path, str]]]:
    """Objects with their sizes and documents with their hashes, as paths below the data folder."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        # A ledger of an earlier release has no such column: nothing was ever deleted there.
        old = "deleted_at" not in {row[1] for row in connection.execute("PRAGMA table_info(instances)")}
        there = "" if old else " WHERE deleted_at IS NULL"
        objects = connection.execute(f"SELECT DISTINCT sha256, size_bytes FROM instances{there}").fetchall()  # noqa: S608 - ours
        documents = connection.execute(f"SELECT path, sha256 FROM documents{there}").fetchall()  # noqa: S608 - ours
    named = [(Path("objects", sha256[:2], f"{sha256}.dcm"), int(size)) for sha256, size in objects]
    return named, [(Path(path), sha256) for path, sha256 in documents]


def _copy(source: Path, target: Path) -> bool:
    """Copy a file that never changes, whole or not at all; False if it was there."""
    if target.exists() and target.stat().st_size == source.stat().st_size:
        return False
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    _sync(part)
    part.replace(target)
    return True


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
