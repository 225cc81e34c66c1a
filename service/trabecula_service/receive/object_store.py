"""Received objects on the disk: named by the hash of their content, and durable before anybody says so."""

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

_PREAMBLE = b"\x00" * 128 + b"DICM"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that is safely on the disk."""

    path: Path
    sha256: str
    size_bytes: int


class ObjectStore:
    """A folder of files named by their content.

    No part of a name comes from the sender: a UID can hold "../". The same bytes have the same name, so that a repeat costs no
    space and can never damage what is there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def put(self, file_meta: bytes, encoded: bytes, transfer_syntax_uid: str) -> StoredFile:
        """Write one object as a DICOM file; it is on the disk when this returns.

        The hash is that of the data set and its transfer syntax, without the file meta information: that part is ours, and
        another version of this software may write it differently around the same object.

        Parameters
        ----------
        file_meta : encoded file meta information (group 0002).
        encoded : the data set as it was received.
        transfer_syntax_uid : how it is encoded.

        Raises
        ------
        OSError
            If the disk is full or not writable; nothing is left behind then.
        """
        digest = hashlib.sha256(transfer_syntax_uid.encode())
        digest.update(encoded)
        sha256 = digest.hexdigest()
        parts = (_PREAMBLE, file_meta, encoded)
        size = sum(len(part) for part in parts)
        target = self.path_of(sha256)
        if target.exists():
            return StoredFile(path=target, sha256=sha256, size_bytes=target.stat().st_size)
        temporary = self._incoming / secrets.token_hex(16)
        try:
            with temporary.open("wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            if not target.parent.is_dir():
                target.parent.mkdir(exist_ok=True)
                sync_folder(self._folder)
            temporary.replace(target)
            sync_folder(target.parent)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return StoredFile(path=target, sha256=sha256, size_bytes=size)

    def path_of(self, sha256: str) -> Path:
        """Where the file with this hash is or would be."""
        return self._folder / sha256[:2] / f"{sha256}.dcm"

    def clear_incoming(self) -> None:
        """At the start: what was half written was never acknowledged."""
        for leftover in self._incoming.iterdir():
            leftover.unlink()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
