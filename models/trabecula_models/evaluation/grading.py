"""Agreement of Genant grades with a reader's, per vertebra and per patient."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

THRESHOLDS: tuple[int, ...] = (1, 2, 3)
"""A finding is a grade at or above one of these."""

_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class GradePair:
    """One unit (a vertebra, or a patient's worst grade) read by both; ``why_left_out`` is empty where both graded it.

    ``reference`` and ``predicted`` are Genant grades 0-3, None where that side gave none.
    """

    case: str
    patient: str
    level: str
    reference: int | None
    predicted: int | None
    reference_type: str | None = None
    predicted_type: str | None = None
    why_left_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A proportion with its 95 % Wilson score interval; None where it has no denominator."""

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        """The proportion."""
        return self.hits / self.of if self.of else None

    @property
    def interval95(self) -> tuple[float, float] | None:
        """Wilson, J Am Stat Assoc 1927;22:209, without continuity correction."""
        if not self.of:
            return None
        p, n, z2 = self.hits / self.of, self.of, _Z95**2
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z95 / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        # At 0 of n and n of n the formula's own ends are 0 and 1; rounding would miss them by an epsilon.
        return 0.0 if self.hits == 0 else middle - half, 1.0 if self.hits == n else middle + half


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Findings at one threshold."""

    threshold: int
    sensitivity: Share
    specificity: Share

    @property
    def false_positives(self) -> int:
        """Units without the finding that were called."""
        return self.specificity.of - self.specificity.hits

    @property
    def false_negatives(self) -> int:
        """Units with the finding that were not called."""
        return self.sensitivity.of - self.sensitivity.hits


def compared(pairs: Iterable[GradePair]) -> tuple[GradePair, ...]:
    """The pairs that both sides graded."""
    return tuple(pair for pair in pairs if pair.reference is not None and pair.predicted is not None)


def silence_as_no_finding(pairs: Iterable[GradePair]) -> tuple[GradePair, ...]:
    """Every pair that the reference graded, with "not graded" read as grade 0: what a reader who relies on the output would miss."""
    return tuple(
        GradePair(
            case=pair.case,
            patient=pair.patient,
            level=pair.level,
            reference=pair.reference,
            predicted=pair.predicted or 0,
            reference_type=pair.reference_type,
            predicted_type=pair.predicted_type,
        )
        for pair in pairs
        if pair.reference is not None
    )


def per_patient(pairs: Iterable[GradePair]) -> tuple[GradePair, ...]:
    """Worst grade of each patient over the vertebrae that both sides graded, all series of the patient together."""
    worst: dict[str, tuple[int, int]] = {}
    for pair in compared(pairs):
        reference, predicted = worst.get(pair.patient, (0, 0))
        worst[pair.patient] = max(reference, pair.reference or 0), max(predicted, pair.predicted or 0)
    return tuple(
        GradePair(case="", patient=patient, level="", reference=reference, predicted=predicted)
        for patient, (reference, predicted) in worst.items()
    )


def agreement(pairs: Iterable[GradePair], threshold: int) -> Agreement:
    """Sensitivity and specificity for a grade at or above a threshold, over the pairs that both sides graded."""
    graded = compared(pairs)
    called = [(pair.reference or 0) >= threshold for pair in graded], [(pair.predicted or 0) >= threshold for pair in graded]
    both = sum(r and p for r, p in zip(*called, strict=True))
    neither = sum(not r and not p for r, p in zip(*called, strict=True))
    positive = sum(called[0])
    return Agreement(
        threshold=threshold,
        sensitivity=Share(hits=both, of=positive),
        specificity=Share(hits=neither, of=len(graded) - positive),
    )


def confusion(pairs: Iterable[GradePair]) -> tuple[tuple[int, int, int, int, int], ...]:
    """Four rows (reference grade 0-3) of five counts (predicted 0-3, not graded)."""
    counts = [[0] * 5 for _ in range(4)]
    for pair in pairs:
        if pair.reference is not None:
            counts[pair.reference][4 if pair.predicted is None else pair.predicted] += 1
    return tuple((row[0], row[1], row[2], row[3], row[4]) for row in counts)


def weighted_kappa(pairs: Iterable[GradePair]) -> float | None:
    """Cohen's kappa with linear weights over the grades 0-3 (Cohen, Psychol Bull 1968;70:213); None where chance leaves nothing to gain."""
    graded = compared(pairs)
    table = [[0.0] * 4 for _ in range(4)]
    for pair in graded:
        table[pair.reference or 0][pair.predicted or 0] += 1.0
    n = len(graded)
    rows, columns = [sum(row) for row in table], [sum(row[j] for row in table) for j in range(4)]
    seen = sum(abs(i - j) * table[i][j] for i in range(4) for j in range(4))
    by_chance = sum(abs(i - j) * rows[i] * columns[j] / n for i in range(4) for j in range(4)) if n else 0.0
    return 1.0 - seen / by_chance if by_chance else None


def same_type(pairs: Sequence[GradePair], threshold: int) -> Share:
    """Share of the same type (wedge, biconcave, crush) among the pairs that both sides grade at or above a threshold."""
    found = [pair for pair in compared(pairs) if min(pair.reference or 0, pair.predicted or 0) >= threshold and pair.reference_type]
    return Share(hits=sum(pair.reference_type == pair.predicted_type for pair in found), of=len(found))
