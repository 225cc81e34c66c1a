"""Grades of the product against the dataset's readers: pairs, the printed report and its CSV files."""

from collections.abc import Iterable, Sequence

from trabecula_models.evaluation.case_score import Prediction
from trabecula_models.evaluation.grading import (
    THRESHOLDS,
    GradePair,
    Share,
    agreement,
    compared,
    confusion,
    per_patient,
    same_type,
    silence_as_no_finding,
    weighted_kappa,
)
from trabecula_models.evaluation.result_tables import Cell, csv_text
from trabecula_models.evaluation.verse_grades import SeriesRow
from trabecula_morphometry.levels import GRADED_LEVELS

NOT_READ = "reader: foreign material"
NOT_FOUND = "level not found"


def pair_grades(case: str, row: SeriesRow, prediction: Prediction) -> tuple[GradePair, ...]:
    """One pair per vertebra of the spreadsheet's row, matched by the level's name as in the dataset.

    A level that the product gave another name to is compared under the wrong name, or not found: an error of names is an error of grades.
    """
    pairs = []
    for level in GRADED_LEVELS:
        read = row.grades.get(level)
        if read is None:
            continue
        found = prediction.grades.get(level)
        reasons = []
        if read.grade is None:
            reasons.append(NOT_READ)
        if found is None:
            reasons.append(NOT_FOUND)
        elif found.grade is None:
            reasons.append(f"not graded: {' '.join(found.codes) or 'no code'}")
        pairs.append(
            GradePair(
                case=case,
                patient=row.patient,
                level=level,
                reference=read.grade,
                predicted=None if found is None else found.grade,
                reference_type=read.type,
                predicted_type=None if found is None else found.type,
                why_left_out="; ".join(reasons),
            )
        )
    return tuple(pairs)


def grade_table(pairs: Sequence[GradePair]) -> str:
    """Sensitivity and specificity per vertebra and per patient, the confusion of grades, and what was left out."""
    both = compared(pairs)
    lines = [f"{'Genant grade':<26}{'sensitivity % (95 %)':>32}{'specificity % (95 %)':>32}"]
    for title, units in _units(pairs):
        lines.append(title)
        for threshold in THRESHOLDS:
            found = agreement(units, threshold)
            lines.append(f"  {'grade >= ' + str(threshold):<24}{_share(found.sensitivity):>32}{_share(found.specificity):>32}")
    kappa = weighted_kappa(both)
    lines += ["", f"Linear weighted kappa, per vertebra: {'-' if kappa is None else f'{kappa:.2f}'}"]
    lines += [f"Same type where both grade >= {threshold}: {_share(same_type(pairs, threshold))}" for threshold in (1, 2)]
    lines += ["", f"{'Reader / Trabecula':<20}" + "".join(f"{name:>12}" for name in ("0", "1", "2", "3", "not graded"))]
    lines += [f"{grade:<20}" + "".join(f"{count:>12}" for count in row) for grade, row in enumerate(confusion(pairs))]
    lines += ["", f"Left out: {len(pairs) - len(both)} of {len(pairs)} vertebrae that the readers looked at"]
    lines += [f"  {count:>5}  {reason}" for reason, count in _reasons(pairs)]
    return "\n".join(lines) + "\n"


def pairs_csv(pairs: Iterable[GradePair]) -> str:
    """One row per vertebra."""
    return csv_text(
        ("case", "patient", "level", "reader_grade", "grade", "reader_type", "type", "left_out"),
        ((p.case, p.patient, p.level, p.reference, p.predicted, p.reference_type, p.predicted_type, p.why_left_out) for p in pairs),
    )


def agreement_csv(pairs: Sequence[GradePair]) -> str:
    """The figures of the printed report."""
    rows: list[Sequence[Cell]] = []
    for title, units in _units(pairs):
        for threshold in THRESHOLDS:
            found = agreement(units, threshold)
            rows += [
                (title, threshold, "sensitivity", *_share_cells(found.sensitivity)),
                (title, threshold, "specificity", *_share_cells(found.specificity)),
            ]
    return csv_text(("unit", "grade_at_least", "measure", "value", "low95", "high95", "hits", "of"), rows)


def confusion_csv(pairs: Sequence[GradePair]) -> str:
    """Reader's grade by row, ours by column."""
    return csv_text(("reader_grade", "0", "1", "2", "3", "not_graded"), ((grade, *row) for grade, row in enumerate(confusion(pairs))))


def _units(pairs: Sequence[GradePair]) -> tuple[tuple[str, Sequence[GradePair]], ...]:
    return (
        ("per vertebra, both graded", compared(pairs)),
        ("per vertebra, not graded counts as 0", silence_as_no_finding(pairs)),
        ("per patient, both graded", per_patient(pairs)),
        ("per patient, not graded counts as 0", per_patient(silence_as_no_finding(pairs))),
    )


def _reasons(pairs: Iterable[GradePair]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for pair in pairs:
        if pair.why_left_out:
            counts[pair.why_left_out] = counts.get(pair.why_left_out, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _share(share: Share) -> str:
    if share.value is None or share.interval95 is None:
        return "- (0 of 0)"
    low, high = share.interval95
    return f"{100 * share.value:.1f} ({100 * low:.1f}-{100 * high:.1f}), {share.hits}/{share.of}"


def _share_cells(share: Share) -> tuple[Cell, ...]:
    low, high = share.interval95 or (None, None)
    return share.value, low, high, share.hits, share.of
