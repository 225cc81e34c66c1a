"""Finds the image files of an input: a folder (nested), one file or a zip; nothing is trusted but the bytes."""

import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydicom import dcmread
from pydicom.dataset import Dataset

from trabecula_morphometry.errors import InputError

Kind = Literal["dicom", "nifti", "zip", "other"]

MAX_UNPACKED_BYTES = 32 * 1024**3
"""Bound of what a zip may unpack to: about ten thousand slices of 1024 x 1024."""

MAX_UNPACKED_FILES = 100_000

_MAGIC_OFFSET = 128
_NIFTI_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file on disk and the name by which messages may call it (relative to the input)."""

    path: Path
    name: str


def kind_of_file(path: Path) -> Kind:
    """What a file is, from its first bytes; NIfTI from its name, for a gzip says nothing about its content."""
    if path.name.lower().endswith(_NIFTI_SUFFIXES):
        return "nifti"
    with path.open("rb") as stream:
        head = stream.read(_MAGIC_OFFSET + 4)
    if head[_MAGIC_OFFSET:] == b"DICM" or _starts_like_data_set(head):
        return "dicom"
    return "zip" if zipfile.is_zipfile(path) else "other"


def _starts_like_data_set(head: bytes) -> bool:
    """Whether a file without preamble starts with a first element of group 0002 or 0008, little endian.

    Force-reading instead would "succeed" on text, HTML and zip files.
    """
    if len(head) < 12:
        return False
    group, element = struct.unpack_from("<HH", head)
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    is_explicit = head[4:6].isalpha() and head[4:6].isupper()
    length = struct.unpack_from("<H", head, 6)[0] if is_explicit else struct.unpack_from("<I", head, 4)[0]
    return bool(length <= 512)


def read_header(file: InputFile) -> Dataset | None:
    """The data set up to the pixel data, or None where it cannot be parsed or has neither SOP class nor modality."""
    try:
        header = dcmread(file.path, stop_before_pixels=True, force=True)
    except Exception:  # a damaged or hostile file may make the parser raise anything; the caller counts it by name
        return None
    meta = getattr(header, "file_meta", None)
    has_class = "SOPClassUID" in header or "Modality" in header or (meta is not None and "MediaStorageSOPClassUID" in meta)
    return header if has_class else None


@contextmanager
def input_files(path: Path) -> Iterator[list[InputFile]]:
    """All files of an input, sorted by name; a zip is unpacked into a folder that is removed at the end.

    Raises
    ------
    InputError
        The path does not exist, or the zip is damaged, encrypted or too large.
    """
    if not path.exists():
        raise InputError("the input does not exist", where=path.name, hint="give a DICOM folder, a DICOM or NIfTI file, or a zip")
    if path.is_dir():
        yield [InputFile(found, str(found.relative_to(path))) for found in sorted(path.rglob("*")) if found.is_file()]
    elif kind_of_file(path) == "zip":
        with tempfile.TemporaryDirectory(prefix="trabecula-") as folder:
            yield _unpack(path, Path(folder))
    else:
        yield [InputFile(path, path.name)]


def _unpack(archive: Path, folder: Path) -> list[InputFile]:
    """Unpack under numbered names, so that no name inside the archive can point anywhere."""
    hint = "pack the DICOM files again, without encryption, one study per zip"
    files = []
    try:
        with zipfile.ZipFile(archive) as packed:
            members = sorted((m for m in packed.infolist() if not m.is_dir() and not _is_link(m)), key=lambda m: m.filename)
            if len(members) > MAX_UNPACKED_FILES or sum(m.file_size for m in members) > MAX_UNPACKED_BYTES:
                raise InputError("the zip unpacks to more than is allowed", where=archive.name, hint=hint)
            for number, member in enumerate(members):
                suffix = next((s for s in _NIFTI_SUFFIXES if member.filename.lower().endswith(s)), "")
                target = folder / f"{number:06d}{suffix}"
                with packed.open(member) as source, target.open("wb") as sink:
                    # ZipExtFile stops at the size the directory states, so the bound above holds for a lying member too.
                    shutil.copyfileobj(source, sink, length=1 << 20)
                files.append(InputFile(target, member.filename))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, zlib.error) as error:
        raise InputError("the zip cannot be unpacked", where=archive.name, hint=hint) from error
    return files


def _is_link(member: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)
