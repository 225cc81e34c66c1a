"""The data folder: its parts, its rights, and the lock that keeps a second service out."""

import fcntl
import os
from pathlib import Path

from trabecula_morphometry.errors import SettingsError
from trabecula_service.ops.bucket import Bucket
from trabecula_service.ops.data_files import DataFiles


class DataFolder:
    """Paths below the data folder; made with rights for the service's user alone, because it holds patient data."""

    def __init__(self, root: Path, bucket: Bucket | None = None) -> None:
        self.root = root.absolute()
        self.files = DataFiles(self.root, bucket)
        self.ledger = self.root / "ledger.sqlite"
        self.objects = self.root / "objects"
        self.work = self.root / "work"
        self.results = self.root / "results"
        self._lock = -1

    @property
    def data(self) -> Path:
        """The folder itself: what paths in the ledger are relative to."""
        return self.root

    def open(self, *, alone: bool = True) -> None:
        """Make what is missing and take the lock.

        Parameters
        ----------
        alone : no other process may use the folder; False shares it with those that share it too.

        Raises
        ------
        SettingsError
            If the folder cannot be made or another service uses it.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.objects, self.work, self.results):
                folder.mkdir(exist_ok=True, mode=0o700)
            self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError("the data folder cannot be used", where=f"data = {self.root}", hint=error.strerror or "") from error
        try:
            # The lock ends with the process, however that ends: nothing stale is left behind.
            fcntl.flock(self._lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            hint = "stop the other service or set another data folder"
            raise SettingsError("another service uses this data folder", where=f"data = {self.root}", hint=hint) from error

    def close(self) -> None:
        """Give the lock back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
