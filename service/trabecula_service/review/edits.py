"""What a reader may change in a result, as the page sends it and the ledger keeps it."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from trabecula_service.result import PointLps

PointName = Literal[
    "anterior_superior", "anterior_inferior", "middle_superior", "middle_inferior", "posterior_superior", "posterior_inferior"
]
LevelName = Annotated[str, Field(pattern=r"^[CTL][0-9]{1,2}$")]
Coordinate = Annotated[float, Field(ge=-10_000, le=10_000, allow_inf_nan=False)]

MOST_SHIFT = 2
"""Names are seldom wrong by more than one level; more than two is another study."""

MOST_TEXT = 500
FreeText = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MOST_TEXT, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]
"""What a reader writes: any script, line breaks, no control characters (documents and databases refuse them)."""


class Verdict(StrEnum):
    """What the reader says about the result (IHE AIRAI: accepted, amended, rejected)."""

    ACCEPTED = "accepted"
    AMENDED = "amended"
    REJECTED = "rejected"


class ExclusionReason(StrEnum):
    """Why a reader leaves a level out."""

    METAL = "metal"
    CEMENT = "cement"
    SCLEROTIC = "sclerotic"
    DEFORMITY = "deformity"
    ARTEFACT = "artefact"
    OTHER = "other"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MovedPoint(_Part):
    """One of the six points at its new place, LPS millimetres. ``level`` is the name in the version that was looked at."""

    level: LevelName
    point: PointName
    place_lps_mm: tuple[Coordinate, Coordinate, Coordinate]

    def place(self) -> PointLps:
        """The place as plain floats."""
        x, y, z = self.place_lps_mm
        return float(x), float(y), float(z)


class Exclusion(_Part):
    """A level that is left out; a deformity is not graded but keeps its density, every other reason takes both."""

    level: LevelName
    reason: ExclusionReason
    note: FreeText = ""


class Edits(_Part):
    """All changes of one review."""

    moved: Annotated[tuple[MovedPoint, ...], Field(max_length=200)] = ()
    shift: Annotated[int, Field(ge=-MOST_SHIFT, le=MOST_SHIFT)] = 0
    """Every name moves so many levels down (+) or up (-): +1 makes L1 of T12."""

    excluded: Annotated[tuple[Exclusion, ...], Field(max_length=40)] = ()

    def is_empty(self) -> bool:
        """Whether nothing is changed."""
        return not (self.moved or self.shift or self.excluded)

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        if len({(move.level, move.point) for move in self.moved}) < len(self.moved):
            raise ValueError("a point is moved twice")
        if len({entry.level for entry in self.excluded}) < len(self.excluded):
            raise ValueError("a level is left out twice")
        return self
