"""Genant grade and type from measured and expected heights, as the VerSe readers used them.

Loeffler et al., Radiol Artif Intell 2020;2(4):e190138 after Genant et al., J Bone Miner Res 1993;8:1137: height loss of at least 20 % is
mild (1), 25 % moderate (2), 40 % severe (3). Wedge: the anterior loss leads; biconcave: the central loss leads; crush: the posterior loss
leads, or a uniform loss that includes the posterior wall. Equal to a limit takes the higher grade.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import ndtr

from trabecula_morphometry.levels import SDI_LEVELS
from trabecula_morphometry.vertebra import ThreeHeights, Vector

GRADE_LIMITS = (0.20, 0.25, 0.40)
BORDERLINE = 0.02
"""A loss this near to a limit is called borderline (clinical-facts 4.1)."""

UNIFORM = 0.05
"""Losses within five points of each other count as equal (about one reader SD of a height ratio, 0.044-0.061)."""

HEADLINE_GRADE = 2


class FractureType(StrEnum):
    """Which height leads the loss."""

    WEDGE = "wedge"
    BICONCAVE = "biconcave"
    CRUSH = "crush"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeightLoss:
    """Fractions of the expected height that are missing (negative: higher than expected), and the one-sigma of the largest."""

    positions: ThreeHeights
    max: float
    max_sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GenantGrade:
    """Grade 0-3 by the largest loss, its type from grade 1 on, and the probability of each grade."""

    grade: int
    type: FractureType | None
    probability: tuple[float, float, float, float]
    borderline: bool


def height_loss(heights_mm: Vector, heights_sd_mm: Vector, expected_mm: Vector, expected_relative_sd: Vector) -> HeightLoss:
    """Loss per position; all arguments are (anterior, middle, posterior)."""
    ratio = heights_mm / expected_mm
    loss = 1.0 - ratio
    sd = ratio * np.hypot(heights_sd_mm / heights_mm, expected_relative_sd)
    worst = int(loss.argmax())
    return HeightLoss(positions=ThreeHeights.from_array(loss), max=float(loss[worst]), max_sd=float(sd[worst]))


def genant_grade(loss: HeightLoss) -> GenantGrade:
    """Grade, type and probabilities of one body."""
    # The small term keeps 1 - 0.8 = 0.19999... on the side of the limit that it means.
    grade = sum(loss.max >= limit - 1e-9 for limit in GRADE_LIMITS)
    at_least = [1.0, *(float(ndtr((loss.max - limit) / max(loss.max_sd, 1e-6))) for limit in GRADE_LIMITS), 0.0]
    p0, p1, p2, p3 = (at_least[i] - at_least[i + 1] for i in range(4))
    return GenantGrade(
        grade=grade,
        type=fracture_type(loss.positions) if grade else None,
        probability=(p0, p1, p2, p3),
        borderline=any(abs(loss.max - limit) <= BORDERLINE for limit in GRADE_LIMITS),
    )


def fracture_type(loss: ThreeHeights) -> FractureType:
    """Type by the leading loss, of a body of grade 1 or more."""
    leading = max(loss.anterior, loss.middle, loss.posterior)
    if leading - loss.posterior <= UNIFORM and loss.posterior >= GRADE_LIMITS[0] - UNIFORM:
        return FractureType.CRUSH
    # Front as low as the middle with a standing back is a wedge with a bent endplate, not a biconcave body.
    return FractureType.WEDGE if loss.anterior >= loss.middle - UNIFORM / 2 else FractureType.BICONCAVE


def certain_enough(grade: GenantGrade, needed: float) -> bool:
    """Whether the image tells grade 0-1 from 2-3 with the needed probability, and the value falls on that side."""
    high = grade.probability[2] + grade.probability[3]
    return high >= needed if grade.grade >= HEADLINE_GRADE else 1.0 - high >= needed


@dataclass(frozen=True, slots=True, kw_only=True)
class FractureSummary:
    """Grades of the whole column."""

    max_grade: int | None
    levels: tuple[str, ...]
    """Levels of grade 1 and more."""

    spinal_deformity_index: int | None
    spinal_deformity_index_complete: bool
    headline: bool


def summarise(grades: Mapping[str, int | None], order: Sequence[str]) -> FractureSummary:
    """Summary over the graded levels. The index is the sum of grades T4-L4 (0-39); complete only if all 13 were graded."""
    graded = {name: grade for name in order if (grade := grades.get(name)) is not None}
    index_levels = [name for name in SDI_LEVELS if name in graded]
    worst = max(graded.values(), default=None)
    return FractureSummary(
        max_grade=worst,
        levels=tuple(name for name, grade in graded.items() if grade >= 1),
        spinal_deformity_index=sum(graded[name] for name in index_levels) if index_levels else None,
        spinal_deformity_index_complete=len(index_levels) == len(SDI_LEVELS),
        headline=worst is not None and worst >= HEADLINE_GRADE,
    )
