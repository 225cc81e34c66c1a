"""Shapes that mimic fractures: told apart by pattern where the column shows one, named, and not graded as fractures."""

from collections.abc import Sequence
from dataclasses import dataclass

from trabecula_morphometry.genant import GRADE_LIMITS, HeightLoss

WEDGE_DEG = 5.0
WEDGED_IN_A_ROW = 3
"""Scheuermann: three or more adjacent bodies wedged by 5 degrees or more (Sorensen 1964)."""

SHORT_RANGE = 0.05
"""Short vertebral height: all three heights low alike (within five points) below grade 2, in adjacent bodies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelShape:
    """What the patterns look at; ``loss`` None where the level could not be compared."""

    name: str
    wedge_angle_deg: float
    loss: HeightLoss | None


def deformed_levels(levels: Sequence[LevelShape]) -> dict[str, str]:
    """Levels of a mild loss that belong to a developmental pattern, with the pattern's name; ``levels`` go cranial to caudal.

    Only losses below grade 2 are explained away: a moderate loss within such a pattern is still reported as what it measures.
    """
    found: dict[str, str] = {}
    for run in _runs([_is_wedged(level) for level in levels], WEDGED_IN_A_ROW):
        found.update({levels[i].name: "three or more adjacent wedged bodies (Scheuermann pattern)" for i in run if _is_mild(levels[i])})
    for run in _runs([_is_short(level) for level in levels], 2):
        found.update({levels[i].name: "adjacent bodies evenly short (short vertebral height)" for i in run if _is_mild(levels[i])})
    return found


def _is_mild(level: LevelShape) -> bool:
    return level.loss is not None and GRADE_LIMITS[0] <= level.loss.max < GRADE_LIMITS[1]


def _is_wedged(level: LevelShape) -> bool:
    """Thoracic and first lumbar bodies only; a central collapse is not a wedge."""
    thoracic = level.name[0] == "T" or level.name == "L1"
    if not thoracic or level.loss is None or level.wedge_angle_deg < WEDGE_DEG:
        return False
    return level.loss.positions.middle <= level.loss.positions.anterior and level.loss.max < GRADE_LIMITS[1]


def _is_short(level: LevelShape) -> bool:
    if level.loss is None or not GRADE_LIMITS[0] - SHORT_RANGE <= level.loss.max < GRADE_LIMITS[1]:
        return False
    values = level.loss.positions.as_array()
    return float(values.max() - values.min()) <= SHORT_RANGE


def _runs(marks: Sequence[bool], least: int) -> list[list[int]]:
    """Runs of at least ``least`` marked neighbours."""
    runs: list[list[int]] = []
    current: list[int] = []
    for i, mark in enumerate([*marks, False]):
        if mark:
            current.append(i)
            continue
        if len(current) >= least:
            runs.append(current)
        current = []
    return runs
