"""Agreement of measured with true values: bias, limits of agreement, sensitivity and specificity, with 95 % intervals (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

_Z95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Differences measured - true (Bland and Altman, Lancet 1986;1:307): bias with its interval, and limits of agreement."""

    count: int
    bias: float
    bias_low: float
    bias_high: float
    limit_low: float
    limit_high: float


def agreement(differences: Sequence[float]) -> Agreement | None:
    """Bias and limits of agreement (bias +- 1.96 SD); None for fewer than two differences."""
    if len(differences) < 2:
        return None
    values = np.asarray(differences, dtype=np.float64)
    bias, sd = float(values.mean()), float(values.std(ddof=1))
    of_bias = _Z95 * sd / sqrt(len(values))
    return Agreement(
        count=len(values),
        bias=bias,
        bias_low=bias - of_bias,
        bias_high=bias + of_bias,
        limit_low=bias - _Z95 * sd,
        limit_high=bias + _Z95 * sd,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportion:
    """Hits of trials with the 95 % interval of Wilson (J Am Stat Assoc 1927;22:209), which holds for few trials and near 0 and 1."""

    hits: int
    count: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Hits by count; NaN without trials."""
        return self.hits / self.count if self.count else float("nan")


def proportion(hits: int, count: int) -> Proportion:
    """A proportion with Wilson's interval; 0 to 1 without trials."""
    if count == 0:
        return Proportion(hits=0, count=0, low=0.0, high=1.0)
    p, z2 = hits / count, _Z95**2
    middle = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 / (1 + z2 / count) * sqrt(p * (1 - p) / count + z2 / (4 * count**2))
    return Proportion(hits=hits, count=count, low=max(middle - half, 0.0), high=min(middle + half, 1.0))


def rms_cv(repeats: Sequence[Sequence[float]]) -> float | None:
    """Root mean square of the coefficients of variation of repeated measurements (Glueer, Osteoporos Int 1995;5:262), a fraction.

    ``repeats`` holds one sequence of readings per object; objects with fewer than two readings count nothing.
    """
    squares = [(float(np.std(own, ddof=1)) / float(np.mean(own))) ** 2 for own in repeats if len(own) >= 2 and np.mean(own) > 0]
    return sqrt(sum(squares) / len(squares)) if squares else None
