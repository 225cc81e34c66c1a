"""Received objects on the disk: named by the hash of their content, and durable before anybody says so."""

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trabecula_service.ops.bucket import Bucket

_PREAMBLE = b"\x00" * 128 + b"DICM"
_SYNC_THREADS = 32
_READ_BYTES = 1 << 20
HEAD_BYTES = 128 * 1024
"""So much of the beginning of each data set stays in memory: nearly always all of the header that filing needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file in the store; ``data_offset`` is where its data set begins."""

    path: Path
    sha256: str
    size_bytes: int
    data_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A file under its final name that may not be on the disk yet; nobody may be told of it before ``wait`` has returned."""

    file: StoredFile
    wait: Callable[[], None]


class ObjectStore:
    """A folder of files named by their content.

    No part of a name comes from the sender: a UID can hold "../". The same bytes have the same name, so that a repeat costs no
    space and can never damage what is there. With a bucket it is there that an object is kept, and the folder holds copies.
    """

    def __init__(self, folder: Path, bucket: Bucket | None = None) -> None:
        self._folder, self._bucket = folder, bucket
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._syncing: Executor = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="trabecula-sync")
        missing = [part for part in (folder / f"{number:02x}" for number in range(256)) if not part.is_dir()]
        for part in missing:
            part.mkdir(exist_ok=True)
        if missing:
            sync_folder(folder)

    def begin(self, file_meta: bytes, transfer_syntax_uid: str) -> "ObjectWriter":
        """Start writing one object as a DICOM file.

        The hash is that of the data set and its transfer syntax, without the file meta information: that part is ours, and
        another version of this software may write it differently around the same object.

        Raises
        ------
        OSError
            If the disk is full or not writable.
        """
        return ObjectWriter(self, self._incoming / secrets.token_hex(16), _PREAMBLE + file_meta, transfer_syntax_uid)

    def put(self, file_meta: bytes, encoded: bytes, transfer_syntax_uid: str) -> StoredFile:
        """Write one whole object; it is on the disk when this returns.

        Raises
        ------
        OSError
            If the disk is full or not writable; nothing is left behind then.
        """
        writer = self.begin(file_meta, transfer_syntax_uid)
        writer.write(encoded)
        placed = writer.place()
        placed.wait()
        return placed.file

    def path_of(self, sha256: str) -> Path:
        """Where the file with this hash is or would be."""
        return self._folder / sha256[:2] / f"{sha256}.dcm"

    def is_whole(self, sha256: str, size_bytes: int) -> bool:
        """Whether the file with this hash is there with its whole content."""
        path = self.path_of(sha256)
        if self._bucket is not None:
            # What the bucket has it has whole; another machine's folder says nothing.
            return self._bucket.size_of(_name_of(sha256)) == size_bytes
        try:
            return path.stat().st_size == size_bytes and _content_hash(path) == sha256
        except OSError:
            return False

    def is_there(self, sha256: str) -> bool:
        """Whether there is a file with this hash, whatever its content."""
        return self.path_of(sha256).is_file() if self._bucket is None else self._bucket.size_of(_name_of(sha256)) is not None

    def local(self, sha256: str) -> Path:
        """The file with this hash on this machine, fetched if it is not here.

        Raises
        ------
        OSError
            The bucket does not have it, or cannot be reached.
        """
        path = self.path_of(sha256)
        if self._bucket is not None:
            if path.exists():
                os.utime(path)
            else:
                self._bucket.fetch(_name_of(sha256), path)
        return path

    def local_all(self, hashes: Iterable[str]) -> list[Path]:
        """The files with these hashes on this machine, in their order; what is not here is fetched side by side.

        Raises
        ------
        OSError
            The bucket does not have one of them, or cannot be reached.
        """
        return [self.path_of(sha256) for sha256 in hashes] if self._bucket is None else list(self._syncing.map(self.local, hashes))

    def delete(self, hashes: Sequence[str]) -> set[Path]:
        """Delete the files with these hashes, as far as they are there; the folders whose names are to be synced."""
        paths = [self.path_of(sha256) for sha256 in hashes]
        for path in paths:
            path.unlink(missing_ok=True)
        if self._bucket is not None:
            self._bucket.delete([_name_of(sha256) for sha256 in hashes])
        return {path.parent for path in paths}

    def clear_incoming(self, *, older_than_seconds: float = 0.0) -> None:
        """At the start: what was half written was never acknowledged."""
        for leftover in self._incoming.iterdir():
            if time.time() - leftover.stat().st_mtime >= older_than_seconds:
                leftover.unlink(missing_ok=True)

    def place(self, temporary: Path, file: BinaryIO, stored: StoredFile) -> Placed:
        """Give a written file its final name and start to sync and to publish it; ``file`` is closed when that is done."""
        placed = self._place(temporary, file, stored)
        if self._bucket is None:
            return placed
        upload = self._syncing.submit(self._bucket.put, _name_of(stored.sha256), placed.file.path)

        def wait() -> None:
            placed.wait()
            upload.result()

        return Placed(file=placed.file, wait=wait)

    def _place(self, temporary: Path, file: BinaryIO, stored: StoredFile) -> Placed:
        try:
            # Fails where the name is taken, unlike a rename: a file that others count on is never replaced by one that is not synced.
            stored.path.hardlink_to(temporary)
        except FileExistsError:
            return self._place_beside(temporary, file, stored)
        except OSError:
            # Some network shares know no hard links.
            return self._replace(temporary, file, stored)
        temporary.unlink()
        # Side by side, also with the ledger's: the kernel answers flushes that wait together with one.
        content = self._syncing.submit(os.fsync, file.fileno())
        name = self._syncing.submit(sync_folder, stored.path.parent)

        def wait() -> None:
            try:
                content.result()
                name.result()
            finally:
                file.close()

        return Placed(file=stored, wait=wait)

    def _place_beside(self, temporary: Path, file: BinaryIO, stored: StoredFile) -> Placed:
        if _content_hash(stored.path) != stored.sha256:
            # Left by a machine that lost its power; it was never acknowledged.
            return self._replace(temporary, file, stored)
        file.close()
        temporary.unlink()
        size = stored.path.stat().st_size
        # It may be another association's that is not synced yet.
        with stored.path.open("rb") as there:
            os.fsync(there.fileno())
        sync_folder(stored.path.parent)
        known = StoredFile(path=stored.path, sha256=stored.sha256, size_bytes=size, data_offset=_data_offset(stored.path))
        return Placed(file=known, wait=lambda: None)

    def _replace(self, temporary: Path, file: BinaryIO, stored: StoredFile) -> Placed:
        os.fsync(file.fileno())
        file.close()
        temporary.replace(stored.path)
        sync_folder(stored.path.parent)
        return Placed(file=stored, wait=lambda: None)


class ObjectWriter:
    """One object on its way to the disk."""

    def __init__(self, store: ObjectStore, temporary: Path, beginning: bytes, transfer_syntax_uid: str) -> None:
        self._store, self._temporary = store, temporary
        self._hash = hashlib.sha256(transfer_syntax_uid.encode())
        self._offset = len(beginning)
        self._size = len(beginning)
        self.head = bytearray()
        self._file: BinaryIO = temporary.open("wb", buffering=0)
        try:
            self._file.write(beginning)
        except OSError:
            self.discard()
            raise

    @property
    def data_bytes(self) -> int:
        """Length of the data set so far."""
        return self._size - self._offset

    def write(self, part: bytes | memoryview) -> None:
        """Add a part.

        Raises
        ------
        OSError
            If the disk is full; nothing is left behind then.
        """
        self._hash.update(part)
        if len(self.head) < HEAD_BYTES:
            self.head += part[: HEAD_BYTES - len(self.head)]
        try:
            done = 0
            while done < len(part):
                done += self._file.write(part[done:])
        except OSError:
            self.discard()
            raise
        self._size += len(part)

    def place(self) -> Placed:
        """Give it its final name.

        Raises
        ------
        OSError
            If that fails; nothing is left behind then.
        """
        sha256 = self._hash.hexdigest()
        stored = StoredFile(path=self._store.path_of(sha256), sha256=sha256, size_bytes=self._size, data_offset=self._offset)
        try:
            return self._store.place(self._temporary, self._file, stored)
        except OSError:
            self.discard()
            raise

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _name_of(sha256: str) -> str:
    return f"objects/{sha256[:2]}/{sha256}.dcm"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _data_offset(path: Path) -> int:
    """Where the data set begins: after the preamble and group 0002, whose length its first element holds."""
    with path.open("rb") as file:
        head = file.read(len(_PREAMBLE) + 12)
    if len(head) < len(_PREAMBLE) + 12 or not head.startswith(_PREAMBLE):
        return 0
    return len(head) + int.from_bytes(head[-4:], "little")


def _content_hash(path: Path) -> str:
    """The hash that a file's name should be: of its transfer syntax and its data set."""
    offset = _data_offset(path)
    digest = hashlib.sha256(_transfer_syntax(path, offset))
    with path.open("rb") as file:
        file.seek(offset)
        while part := file.read(_READ_BYTES):
            digest.update(part)
    return digest.hexdigest()


def _transfer_syntax(path: Path, data_offset: int) -> bytes:
    """(0002,0010) of the file meta information, explicit little endian as the standard wants it."""
    with path.open("rb") as file:
        meta = file.read(min(data_offset, 1 << 16))[len(_PREAMBLE) :]
    offset = 0
    while offset + 8 <= len(meta):
        element, vr = int.from_bytes(meta[offset + 2 : offset + 4], "little"), meta[offset + 4 : offset + 6]
        long_form = vr in (b"OB", b"UN", b"OW", b"SQ", b"UT")
        start = offset + (12 if long_form else 8)
        length = int.from_bytes(meta[start - 4 : start] if long_form else meta[start - 2 : start], "little")
        if element == 0x0010:
            return meta[start : start + length].strip(b"\x00 ")
        offset = start + length
    return b""
