"""What a destination must do, and the answers it may give."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One document to deliver. The names are ours: nothing in them comes from a patient."""

    path: Path
    document: str
    study_id: str
    version_number: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The destination keeps the document; ``note`` is its answer."""

    note: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """No answer, or no room for now: try again for as long as it takes."""

    note: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The destination does not want this document: a few more tries, then a person."""

    note: str


class Destination(Protocol):
    """A place that takes documents; sending one twice must do no harm."""

    def deliver(self, item: Item) -> Accepted | Unavailable | Refused:
        """Hand over one document and wait for the answer; never raises for what the other side does."""
