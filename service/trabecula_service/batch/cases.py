"""What a folder offers to analyse: DICOM studies by their UID wherever their files lie, zips, and NIfTI volumes."""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from trabecula_models.evaluation.case_names import without_extension
from trabecula_morphometry.errors import InputError
from trabecula_service.dicom.files import Kind, kind_of_file

LONGEST_NAME = 100
"""Letters of a case's name: it becomes a folder, whose path must stay below the limits of file systems."""

_MASK_NAME = re.compile(r"(^|[_-])(seg|msk|mask|bodies|segmentation|posterior|snp|w)$", re.IGNORECASE)
"""NIfTI files that are label volumes or pictures of VerSe, CTSpine1K and this program, not CT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCase:
    """One study.

    ``name`` names its folder among the results: the StudyInstanceUID, or the path of a zip or NIfTI file below the root. ``files`` are
    sorted. ``fingerprint`` changes when a file is added, removed or written again.
    """

    name: str
    kind: Kind
    files: tuple[Path, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The cases of a folder, by name, and how many files were passed over (no image, or a label volume)."""

    cases: tuple[BatchCase, ...]
    passed_over: int


def find_cases(root: Path, tick: Callable[[int], None] = lambda _count: None) -> Found:
    """Search a folder with all its subfolders; ``tick`` is called with the number of files looked at.

    Only the first elements of each DICOM file are read, about a millisecond each.

    Raises
    ------
    InputError : no such folder, or nothing to analyse in it.
    """
    if not root.is_dir():
        raise InputError("the folder of studies is missing", where=root.name, hint="check the path")
    groups: dict[tuple[str, Kind], list[Path]] = defaultdict(list)
    passed_over = 0
    for count, path in enumerate(_files(root), start=1):
        kind, name = _belongs_to(path, root)
        if name:
            groups[name, kind].append(path)
        else:
            passed_over += 1
        tick(count)
    if not groups:
        raise InputError("no study in the folder", where=root.name, hint="give a folder with DICOM studies, zips or NIfTI volumes")
    cases = (
        BatchCase(name=_folder_name(name), kind=kind, files=tuple(sorted(files)), fingerprint=_fingerprint(root, files))
        for (name, kind), files in groups.items()
    )
    return Found(cases=tuple(sorted(cases, key=lambda case: case.name)), passed_over=passed_over)


def _files(root: Path) -> Iterator[Path]:
    """All files in order, through links to folders too (archives are often laid out by them); each real folder once."""
    seen: set[str] = set()
    for folder, below, names in os.walk(root, followlinks=True):
        below.sort()
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        yield from (path for path in (Path(folder) / name for name in sorted(names)) if path.is_file() and not path.name.startswith("."))


def _belongs_to(path: Path, root: Path) -> tuple[Kind, str]:
    """Kind of a file and the name of its case; an empty name where it is no image."""
    try:
        kind = kind_of_file(path)
    except OSError:
        return "other", ""
    if kind == "nifti":
        return kind, "" if _MASK_NAME.search(without_extension(path)) else _relative(path, root)
    if kind == "zip":
        return kind, _relative(path, root)
    return kind, _study_uid(path) or str(path.parent.relative_to(root)) if kind == "dicom" else ""


def _relative(path: Path, root: Path) -> str:
    name = without_extension(path)
    return str(path.relative_to(root).with_name(name.removesuffix(".zip")))


def _study_uid(path: Path) -> str:
    try:
        header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=["StudyInstanceUID"])
        return str(header.get("StudyInstanceUID", "")).strip()
    # A damaged file may make the parser raise anything; it then belongs to its folder, and the analysis says what is wrong with it.
    except Exception:
        return ""


def _folder_name(name: str) -> str:
    """A name that every file system takes; names that would fall together by that keep a piece of their hash."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name.replace("/", "__")).strip("._") or "case"
    if safe in (name, name.replace("/", "__")) and len(safe) <= LONGEST_NAME:
        return safe
    return f"{safe[: LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _fingerprint(root: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        state = path.stat()
        digest.update(f"{path.relative_to(root)}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
