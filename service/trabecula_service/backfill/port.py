"""What an archive must do for a backfill, and the answers it may give."""

from dataclasses import dataclass
from datetime import date
from typing import Protocol

from trabecula_morphometry.errors import TrabeculaError


class ArchiveError(TrabeculaError):
    """The archive cannot be asked: not there, or it refuses us."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The archive has sent the study to our listener, ``objects`` of it."""

    objects: int


@dataclass(frozen=True, slots=True)
class NotFetched:
    """The archive did not send all of it; ``note`` says why, without patient data."""

    note: str


class Archive(Protocol):
    """A place with old studies."""

    def find(self, day: date) -> list[str]:
        """Study Instance UIDs of the CT studies of one day.

        Raises
        ------
        ArchiveError
            It does not answer, or not as the standard says.
        """

    def fetch(self, study_instance_uid: str) -> Fetched | NotFetched:
        """Have one study sent to our listener, and wait for the end of it; never raises for what the other side does."""
