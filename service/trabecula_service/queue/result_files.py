"""Files of one analysis: the study as a folder of links, and the results made durable before the ledger names them."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trabecula_service.ops.data_files import DataFiles
from trabecula_service.receive.object_store import sync_folder


class Places(Protocol):
    """Folders of the worker; ``work`` and ``results`` lie below ``data``."""

    @property
    def data(self) -> Path:
        """The data folder."""

    @property
    def files(self) -> DataFiles:
        """What lies below the data folder, wherever it is kept."""

    @property
    def work(self) -> Path:
        """The folder of attempts under way."""

    @property
    def results(self) -> Path:
        """The folder of the results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A result file that is safely on the disk; ``path`` is relative to the data folder."""

    name: str
    path: str
    sha256: str
    size_bytes: int


def link_study(folder: Path, objects: Sequence[Path]) -> None:
    """Make a folder in which the objects of a study appear under their hashed names, without copying them."""
    folder.mkdir(parents=True)
    for source in objects:
        try:
            (folder / source.name).hardlink_to(source)
        except OSError:
            # Some network shares know no hard links.
            (folder / source.name).symlink_to(source.resolve())


def keep_files(files: Sequence[Path], places: Places, *, folder_name: str) -> tuple[KeptFile, ...]:
    """Move the files of an analysis to their final folder, synced to the disk.

    The folder's name holds the fencing token, so that two attempts never write into one.

    Raises
    ------
    OSError
        If the disk is full or a file is missing.
    """
    target = places.results / folder_name
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    kept = []
    for source in files:
        destination = target / source.name
        source.replace(destination)
        content = destination.read_bytes()
        with destination.open("rb") as file:
            os.fsync(file.fileno())
        relative = destination.relative_to(places.data).as_posix()
        kept.append(KeptFile(name=source.name, path=relative, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)))
    sync_folder(target)
    sync_folder(places.results)
    for made in kept:
        places.files.publish(places.data / made.path)
    return tuple(kept)
