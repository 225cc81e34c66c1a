"""Vertebral levels: names, order, and the numbers of the VerSe label convention.

VerSe: 1-7 C1-C7, 8-19 T1-T12, 20-25 L1-L6, 26 sacrum, 28 T13 (anjany/verse README); 40 is our own number for foreign material.
"""

SACRUM_LABEL = 26
FOREIGN_LABEL = 40

LABEL_OF_LEVEL: dict[str, int] = {
    **{f"C{i}": i for i in range(1, 8)},
    **{f"T{i}": 7 + i for i in range(1, 13)},
    "T13": 28,
    **{f"L{i}": 19 + i for i in range(1, 7)},
}
LEVEL_OF_LABEL: dict[int, str] = {label: name for name, label in LABEL_OF_LEVEL.items()}

LEVELS_IN_ORDER: tuple[str, ...] = tuple(LABEL_OF_LEVEL)
"""All level names, cranial to caudal, T13 between T12 and L1."""

GRADED_LEVELS: tuple[str, ...] = tuple(name for name in LEVELS_IN_ORDER if name[0] in "TL")
"""Only thoracic and lumbar levels carry a Genant grade (Loeffler 2020)."""

DENSITY_LEVELS: tuple[str, ...] = ("L1", "L2", "L3")
"""Levels of the reported mean density (ISCD: single-slice QCT L1-L3)."""

DENSITY_FALLBACK_LEVELS: tuple[str, ...] = ("T12", "L4")
"""Used only when fewer than two of L1-L3 are usable."""

SDI_LEVELS: tuple[str, ...] = (*(f"T{i}" for i in range(4, 13)), *(f"L{i}" for i in range(1, 5)))
"""Levels of the spinal deformity index, T4-L4 (Minne/Genant)."""


def level_position(name: str) -> int:
    """Rank of a level, counted from C1 = 0 downwards."""
    return LEVELS_IN_ORDER.index(name)
