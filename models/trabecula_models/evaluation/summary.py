"""Means over the cases of a set: per level, mean of vertebrae, mean of spine, id-rate, d_mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from trabecula_models.evaluation.case_score import CaseScore, LevelStatus, mean_or_none
from trabecula_morphometry.levels import LEVELS_IN_ORDER


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelMean:
    """One level over a set: cases whose reference holds it, their mean Dice, and mean HD95 over those where both hold it."""

    level: str
    cases: int
    dice: float | None
    hd95_mm: float | None
    missed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSummary:
    """A set of cases.

    ``mean_of_vertebrae`` is the plain mean of the levels' means, as in CTSpine1K's Table 2 (a level that few cases have weighs as much as
    any other); ``mean_of_spine`` the mean over cases of the whole spine as one structure, ``annotated_spine`` the same without predicted
    levels that lie on no annotated vertebra; ``dice_of_cases`` the mean over cases of each case's mean, ``dice_of_cases_strict`` the same
    with extra levels as Dice 0. ``d_mean_mm`` runs over all vertebrae whose label is in both
    lists, whatever their distance; ``d_median_mm`` likewise.
    """

    group: str
    cases: int
    levels: tuple[LevelMean, ...]
    mean_of_vertebrae_dice: float | None
    mean_of_vertebrae_hd95_mm: float | None
    mean_of_spine_dice: float | None
    mean_of_spine_hd95_mm: float | None
    annotated_spine_dice: float | None
    annotated_spine_hd95_mm: float | None
    dice_of_cases: float | None
    dice_of_cases_strict: float | None
    vertebrae: int
    judged: int
    identified: int
    d_mean_mm: float | None
    d_median_mm: float | None
    compared_centers: int
    missed: int
    extra: int
    extra_unannotated: int
    cases_all_right: int
    cases_misnamed: int
    cases_misnamed_yet_certain: int | None

    @property
    def id_rate(self) -> float | None:
        """Share of the vertebrae with a centre in the reference that were identified."""
        return self.identified / self.judged if self.judged else None

    @property
    def precision(self) -> float | None:
        """Share of the predicted vertebrae that were identified (VerSe'19, Tasks: P = hits / predicted)."""
        predicted = self.vertebrae - self.missed + self.extra
        return self.identified / predicted if predicted else None


def summarize(cases: Sequence[CaseScore], group: str) -> SetSummary:
    """Summarize the cases of one set."""
    levels = tuple(mean for level in LEVELS_IN_ORDER if (mean := _level_mean(cases, level)) is not None)
    distances = [distance for case in cases for distance in case.distances_mm]
    extras = [level for case in cases for level in case.levels if level.status is LevelStatus.EXTRA]
    declared = [case for case in cases if case.numbering_certain is not None]
    return SetSummary(
        group=group,
        cases=len(cases),
        levels=levels,
        mean_of_vertebrae_dice=mean_or_none([level.dice for level in levels if level.dice is not None]),
        mean_of_vertebrae_hd95_mm=mean_or_none([level.hd95_mm for level in levels if level.hd95_mm is not None]),
        mean_of_spine_dice=mean_or_none([case.spine.dice for case in cases]),
        mean_of_spine_hd95_mm=mean_or_none([case.spine.hd95_mm for case in cases if case.spine.hd95_mm is not None]),
        annotated_spine_dice=mean_or_none([case.spine_annotated.dice for case in cases]),
        annotated_spine_hd95_mm=mean_or_none([c.spine_annotated.hd95_mm for c in cases if c.spine_annotated.hd95_mm is not None]),
        dice_of_cases=mean_or_none([case.dice_mean for case in cases if case.dice_mean is not None]),
        dice_of_cases_strict=mean_or_none([case.dice_mean_strict for case in cases if case.dice_mean_strict is not None]),
        vertebrae=sum(len(case.of_reference) for case in cases),
        judged=sum(case.judged for case in cases),
        identified=sum(case.hits for case in cases),
        d_mean_mm=mean_or_none(distances),
        d_median_mm=median(distances) if distances else None,
        compared_centers=len(distances),
        missed=sum(case.count(LevelStatus.MISSED) for case in cases),
        extra=len(extras),
        extra_unannotated=sum(level.unannotated for level in extras),
        cases_all_right=sum(case.all_right for case in cases),
        cases_misnamed=sum(case.misnamed for case in cases),
        cases_misnamed_yet_certain=sum(case.numbering_certain is True and case.misnamed for case in declared) if declared else None,
    )


def _level_mean(cases: Sequence[CaseScore], level: str) -> LevelMean | None:
    rows = [row for case in cases for row in case.of_reference if row.level == level]
    if not rows:
        return None
    return LevelMean(
        level=level,
        cases=len(rows),
        dice=mean_or_none([row.dice for row in rows if row.dice is not None]),
        hd95_mm=mean_or_none([row.hd95_mm for row in rows if row.hd95_mm is not None]),
        missed=sum(row.status is LevelStatus.MISSED for row in rows),
    )
