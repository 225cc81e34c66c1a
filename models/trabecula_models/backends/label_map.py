"""Which number of a foreign model's mask is which vertebra: data files, checked when read."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trabecula_models.errors import ModelError
from trabecula_morphometry.levels import LABEL_OF_LEVEL, SACRUM_LABEL

RIB_NUMBER = 200
"""Our own number for any rib: names are counted from where the ribs end, whichever rib the model calls it."""

LABEL_MAP_FOLDER = Path(__file__).parent / "label_maps"

_LEVEL_NAME = re.compile(r"(?:.*vertebrae?[ _-]*)?(C[1-7]|T(?:1[0-3]|[1-9])|L[1-6])", re.IGNORECASE)
_SACRUM_NAME = re.compile(r"(?:.*vertebrae?[ _-]*)?(?:sacrum|S1?)", re.IGNORECASE)
_RIB_NAME = re.compile(r"rib(?:[ _-]*(?:left|right))?(?:[ _-]*\d+)?", re.IGNORECASE)


class LabelMapError(ModelError):
    """A label map cannot be read, names what does not exist, or does not fit the model."""


class Parts(StrEnum):
    """What the model's masks show of a vertebra."""

    VERTEBRA = "vertebra"
    BODY = "body"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMap:
    """The meaning of a model's numbers. ``numbers`` maps the model's number to the VerSe number; others mean nothing to us.

    Several numbers may mean the sacrum, or a rib (``RIB_NUMBER``); a level has one number only.
    """

    numbers: Mapping[int, int]
    parts: Parts = Parts.VERTEBRA

    def __post_init__(self) -> None:
        levels = [label for label in self.numbers.values() if label not in (SACRUM_LABEL, RIB_NUMBER)]
        if not levels:
            raise LabelMapError("the label map names no vertebra", hint='name levels like "L1" or "vertebrae_L1", or choose a map by name')
        if len(set(levels)) != len(levels):
            raise LabelMapError("the label map gives two numbers to one level", where=str(sorted(levels)), hint="each level once")
        if any(not 1 <= number <= 255 for number in self.numbers):
            raise LabelMapError("the numbers of a label map are 1 to 255", where=str(sorted(self.numbers)), hint="0 is background")

    def to_verse(self, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """The model's mask in VerSe numbers; what the map does not name becomes 0."""
        table = np.zeros(256, dtype=np.uint8)
        table[list(self.numbers)] = list(self.numbers.values())
        verse: NDArray[np.uint8] = table[labels if labels.dtype == np.uint8 else np.clip(labels, 0, 255).astype(np.uint8)]
        return verse


def verse_number(name: str) -> int | None:
    """Number of a structure's name as models write it ("L1", "vertebrae_L1", "sacrum", "S1", "rib_left_12"), or None for others."""
    if level := _LEVEL_NAME.fullmatch(name.strip()):
        return LABEL_OF_LEVEL[level[1].upper()]
    if _RIB_NAME.fullmatch(name.strip()):
        return RIB_NUMBER
    return SACRUM_LABEL if _SACRUM_NAME.fullmatch(name.strip()) else None


def map_from_names(names: Mapping[int, str], parts: Parts = Parts.VERTEBRA) -> LabelMap:
    """The map behind the names that a model declares, number to name.

    Raises
    ------
    LabelMapError : no name is that of a vertebra.
    """
    found = {number: verse for number, name in names.items() if number and (verse := verse_number(name)) is not None}
    return LabelMap(numbers=found, parts=parts)


def read_label_map(name_or_path: str) -> LabelMap:
    """A map that comes with the package, by name, or a site's own TOML file, by path.

    Raises
    ------
    LabelMapError : it does not exist, is not a map, or names what is no vertebra.
    """
    shipped = LABEL_MAP_FOLDER / f"{name_or_path}.toml"
    path = shipped if shipped.is_file() else Path(name_or_path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        parts = Parts(content["parts"])
        names = {int(number): str(name) for number, name in content["labels"].items()}
    except (OSError, KeyError, ValueError, AttributeError) as error:
        known = ", ".join(sorted(file.stem for file in LABEL_MAP_FOLDER.glob("*.toml")))
        raise LabelMapError("the label map cannot be read", where=name_or_path, hint=f"one of {known}, or a file like those") from error
    strange = [name for name in names.values() if verse_number(name) is None]
    if strange:
        raise LabelMapError(
            f"the label map names {strange[0]!r}, which is none of ours", where=name_or_path, hint="C1-L6, T13, sacrum or rib"
        )
    return map_from_names(names, parts)
