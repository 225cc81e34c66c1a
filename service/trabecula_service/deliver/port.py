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
class Stored:
    """The destination has the document, and is to be asked whether it keeps it."""

    note: str
    sop_class_uid: str
    sop_instance_uid: str


Reference = tuple[str, str]
"""SOP class and SOP instance."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The destination was asked whether it keeps what it took, and is to report."""

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

    def deliver(self, item: Item) -> Accepted | Stored | Unavailable | Refused:
        """Hand over one document and wait for the answer; never raises for what the other side does."""
