"""What the trials show: figures per slice spacing, and whether they meet the criteria of acceptance (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trabecula_service.validate.agreement import Agreement, Proportion, agreement, proportion, rms_cv
from trabecula_service.validate.plan import TILT_DEG
from trabecula_service.validate.trial import LevelRow

FINE_SLICES_MM = 1.5
FRACTURE_GRADE = 2
"""The headline speaks from grade 2; sensitivity and specificity are given for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpacingFigures:
    """Figures of all trials with one slice spacing; ``not_graded`` counts found levels without a grade, ``not_found`` missed ones."""

    slice_spacing_mm: float
    levels: int
    named_right: Proportion
    heights: Agreement | None
    within_1_mm: Proportion
    within_2_sd: Proportion
    density: Agreement | None
    density_interval_holds: Proportion
    sensitivity: Proportion
    specificity: Proportion
    type_right: Proportion
    not_graded: int
    not_found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One line of the acceptance table; ``met`` None where the plan has no trial for it."""

    what: str
    wanted: str
    reached: str
    met: bool | None


def figures_by_spacing(rows: Sequence[LevelRow]) -> list[SpacingFigures]:
    """One entry per slice spacing, thin first."""
    return [_figures(spacing, [r for r in rows if r.slice_spacing_mm == spacing]) for spacing in sorted({r.slice_spacing_mm for r in rows})]


def _figures(spacing_mm: float, rows: list[LevelRow]) -> SpacingFigures:
    errors = [error for row in rows for error in row.height_errors_mm()]
    scaled = [error / row.sd_mm for row in rows if row.sd_mm for error in row.height_errors_mm()]
    dense = [row for row in rows if row.density_mg_cm3 is not None and row.true_grade == 0]
    held = [row for row in dense if _between(row.density_low_mg_cm3, row.true_density_mg_cm3, row.density_high_mg_cm3)]
    return SpacingFigures(
        slice_spacing_mm=spacing_mm,
        levels=len(rows),
        named_right=proportion(sum(row.called == row.level for row in rows), len(rows)),
        heights=agreement(errors),
        within_1_mm=proportion(sum(abs(error) <= 1.0 for error in errors), len(errors)),
        within_2_sd=proportion(sum(abs(error) <= 2.0 for error in scaled), len(scaled)),
        density=agreement([row.density_mg_cm3 - row.true_density_mg_cm3 for row in dense if row.density_mg_cm3 is not None]),
        density_interval_holds=proportion(len(held), len(dense)),
        sensitivity=sensitivity(rows),
        specificity=specificity(rows),
        type_right=type_right(rows),
        not_graded=sum(row.grade is None and row.called is not None for row in rows),
        not_found=sum(row.called is None for row in rows),
    )


def _between(low: float | None, value: float, high: float | None) -> bool:
    return low is not None and high is not None and low <= value <= high


def sensitivity(rows: Sequence[LevelRow]) -> Proportion:
    """Vertebrae of true grade >= 2 that were given grade >= 2; one without a grade counts as missed."""
    positive = [row for row in rows if row.true_grade >= FRACTURE_GRADE]
    return proportion(sum((row.grade or 0) >= FRACTURE_GRADE for row in positive), len(positive))


def specificity(rows: Sequence[LevelRow]) -> Proportion:
    """Graded vertebrae of true grade < 2 that were given grade < 2."""
    negative = [row for row in rows if row.true_grade < FRACTURE_GRADE and row.grade is not None]
    return proportion(sum((row.grade or 0) < FRACTURE_GRADE for row in negative), len(negative))


def type_right(rows: Sequence[LevelRow]) -> Proportion:
    """Vertebrae of true and given grade >= 2 whose type is right."""
    both = [row for row in rows if row.true_grade >= FRACTURE_GRADE and (row.grade or 0) >= FRACTURE_GRADE]
    return proportion(sum(row.type == row.true_type for row in both), len(both))


def voi_rms_cv(rows: Sequence[LevelRow]) -> float | None:
    """RMS coefficient of variation of the VOI's HU over kernels, noise and slices up to 2.5 mm of the same vertebra (unfractured)."""
    repeats: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.hu is not None and row.true_grade == 0 and row.tilt_deg == 0 and row.slice_spacing_mm <= 2.5:
            repeats.setdefault((row.person, row.level), []).append(row.hu)
    return rms_cv(list(repeats.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class RescanFigures:
    """One way of scanning a person otherwise, against the scan it should agree with; unfractured levels for HU, all for heights."""

    what: str
    against: str
    levels: int
    hu_percent: Agreement | None
    hu_rms_cv: float | None
    heights: Agreement | None
    heights_95_mm: float | None
    """95 % of the height differences are at most this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RescanPair:
    """One vertebra in two scans of one person."""

    what: str
    against: str
    row: LevelRow
    base: LevelRow

    def height_differences_mm(self) -> list[float]:
        """Scan minus the scan it should agree with."""
        pairs = zip(_heights(self.row), _heights(self.base), strict=True)
        return [own - other for own, other in pairs if own is not None and other is not None]

    def hu_percent(self) -> float | None:
        """Difference of the VOI's mean, percent; None for fractures and where a scan gave none."""
        if self.row.hu is None or not self.base.hu or self.row.true_grade:
            return None
        return 100.0 * (self.row.hu - self.base.hu) / self.base.hu


def rescan_pairs(rows: Sequence[LevelRow]) -> list[RescanPair]:
    """Every vertebra of a scan that should agree with another one, beside it."""
    of_trial: dict[str, dict[str, LevelRow]] = {}
    for row in rows:
        of_trial.setdefault(row.trial, {})[row.level] = row
    pairs = []
    for row in rows:
        against = next((name for name in row.against.split() if name in of_trial), None)
        base = of_trial[against].get(row.level) if against else None
        if against is not None and base is not None:
            start = f"{row.person}-"
            pairs.append(RescanPair(what=row.trial.removeprefix(start), against=against.removeprefix(start), row=row, base=base))
    return pairs


def rescans(rows: Sequence[LevelRow]) -> list[RescanFigures]:
    """One entry per way of scanning otherwise, in the order of the plan."""
    pairs = rescan_pairs(rows)
    return [_rescan([p for p in pairs if (p.what, p.against) == key]) for key in dict.fromkeys((p.what, p.against) for p in pairs)]


def _rescan(pairs: list[RescanPair]) -> RescanFigures:
    hu = [percent for pair in pairs if (percent := pair.hu_percent()) is not None]
    heights = [difference for pair in pairs for difference in pair.height_differences_mm()]
    readings = [(pair.row.hu, pair.base.hu) for pair in pairs if pair.hu_percent() is not None]
    return RescanFigures(
        what=pairs[0].what,
        against=pairs[0].against,
        levels=len(pairs),
        hu_percent=agreement(hu),
        hu_rms_cv=rms_cv([(own, other) for own, other in readings if own is not None and other is not None]),
        heights=agreement(heights),
        heights_95_mm=float(np.quantile(np.abs(heights), 0.95)) if heights else None,
    )


def turned_differences_mm(rows: Sequence[LevelRow]) -> list[float]:
    """Absolute differences between heights of turned patients and of the same ones lying straight."""
    return [abs(difference) for pair in rescan_pairs(rows) if pair.row.tilt_deg > 0 for difference in pair.height_differences_mm()]


def said(rows: Sequence[LevelRow]) -> Proportion:
    """Vertebrae in view that were graded, or say by a code why they were not."""
    found = [row for row in rows if row.called is not None]
    return proportion(sum(row.grade is not None or bool(row.excluded) for row in found), len(found))


def _heights(row: LevelRow) -> tuple[float | None, float | None, float | None]:
    return row.anterior_mm, row.middle_mm, row.posterior_mm


def criteria(rows: Sequence[LevelRow]) -> list[Criterion]:
    """The acceptance table."""
    fine = [row for row in rows if row.slice_spacing_mm <= FINE_SLICES_MM]
    middle = [row for row in rows if row.slice_spacing_mm == 3.0]
    errors = [error for row in fine for error in row.height_errors_mm()]
    bias = float(np.mean(errors)) if errors else None
    cv = voi_rms_cv(rows)
    turned = turned_differences_mm(rows)
    tilts = sorted({row.tilt_deg for row in rows if row.tilt_deg > 0})
    return [
        Criterion(
            what="heights, slices <= 1.5 mm: bias",
            wanted="within 0.3 mm",
            reached="-" if bias is None else f"{bias:+.2f} mm",
            met=None if bias is None else abs(bias) <= 0.3,
        ),
        _at_least("heights, slices <= 1.5 mm: within 1.0 mm", proportion(sum(abs(e) <= 1.0 for e in errors), len(errors)), 0.95),
        _at_least("grade >= 2, slices <= 1.5 mm: sensitivity", sensitivity(fine), 0.95),
        _at_least("grade >= 2, slices <= 1.5 mm: specificity", specificity(fine), 0.97),
        _at_least("type of fractures of grade >= 2, slices <= 1.5 mm", type_right(fine), 0.85),
        _at_least("grade >= 2, slices of 3 mm: sensitivity", sensitivity(middle), 0.90),
        Criterion(
            what="VOI over kernel, noise, slices up to 2.5 mm: RMS CV",
            wanted="at most 1.5 %",
            reached="-" if cv is None else f"{cv:.2%}",
            met=None if cv is None else cv <= 0.015,
        ),
        Criterion(
            what=f"heights, patient turned by {tilts[-1] if tilts else TILT_DEG:g} degrees: 95 % of differences",
            wanted="within 0.5 mm",
            reached=f"{np.quantile(turned, 0.95):.2f} mm (median {np.median(turned):.2f})" if turned else "-",
            met=bool(np.quantile(turned, 0.95) <= 0.5) if turned else None,
        ),
        _at_least("slices of 5 mm: graded, or said why not", said([row for row in rows if row.slice_spacing_mm == 5.0]), 1.0),
    ]


def _at_least(what: str, found: Proportion, wanted: float) -> Criterion:
    if found.count == 0:
        return Criterion(what=what, wanted=f"at least {wanted:.0%}", reached="-", met=None)
    reached = f"{found.share:.1%} ({found.hits}/{found.count}; {found.low:.0%} to {found.high:.0%})"
    return Criterion(what=what, wanted=f"at least {wanted:.0%}", reached=reached, met=found.share >= wanted)
