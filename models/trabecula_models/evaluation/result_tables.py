"""The evaluation's CSV files: rows of plain text, one function per file."""

import csv
import io
from collections.abc import Iterable, Sequence

from trabecula_models.evaluation.case_score import CaseScore, LevelStatus
from trabecula_models.evaluation.summary import SetSummary

Cell = str | int | float | bool | None


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A CSV file; what was not measured is an empty cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_text(cell) for cell in row] for row in rows)
    return stream.getvalue()


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def levels_csv(cases: Iterable[CaseScore]) -> str:
    """One row per case and level."""
    header = (
        "case",
        "set",
        "level",
        "status",
        "dice",
        "hd95_mm",
        "reference_mm3",
        "predicted_mm3",
        "centre_mm",
        "identified",
        "annotated_share",
        "misnamed",
    )
    return csv_text(
        header,
        (
            (
                case.name,
                case.group,
                level.level,
                level.status.value,
                level.dice,
                level.hd95_mm,
                None if level.overlap is None else level.overlap.reference_mm3,
                None if level.overlap is None else level.overlap.predicted_mm3,
                None if level.identification is None else level.identification.distance_mm,
                None if level.identification is None else level.identification.hit,
                level.annotated_share,
                level.misnamed,
            )
            for case in cases
            for level in case.levels
        ),
    )


def cases_csv(cases: Iterable[CaseScore]) -> str:
    """One row per case."""
    header = (
        "case", "set", "vertebrae", "identified", "missed", "extra", "d_mean_mm", "dice_mean", "dice_mean_strict", "hd95_mean_mm",
        "spine_dice", "spine_hd95_mm", "annotated_spine_dice", "annotated_spine_hd95_mm", "numbering_certain", "centres_from",
        "made_by", "note",
    )  # fmt: skip
    return csv_text(
        header,
        (
            (
                case.name,
                case.group,
                len(case.of_reference),
                case.hits,
                case.count(LevelStatus.MISSED),
                case.count(LevelStatus.EXTRA),
                sum(case.distances_mm) / len(case.distances_mm) if case.distances_mm else None,
                case.dice_mean,
                case.dice_mean_strict,
                case.hd95_mean_mm,
                case.spine.dice,
                case.spine.hd95_mm,
                case.spine_annotated.dice,
                case.spine_annotated.hd95_mm,
                case.numbering_certain,
                case.centers_from,
                case.made_by,
                case.note,
            )
            for case in cases
        ),
    )


def summary_csv(sets: Iterable[SetSummary]) -> str:
    """One row per set and level, then one per set and measure: the figures of the printed tables."""
    rows: list[Sequence[Cell]] = []
    for one in sets:
        rows += [(one.group, f"dice {level.level}", level.dice, level.cases) for level in one.levels]
        rows += [(one.group, f"hd95_mm {level.level}", level.hd95_mm, level.cases - level.missed) for level in one.levels]
        rows += [
            (one.group, "mean_of_vertebrae_dice", one.mean_of_vertebrae_dice, len(one.levels)),
            (one.group, "mean_of_vertebrae_hd95_mm", one.mean_of_vertebrae_hd95_mm, len(one.levels)),
            (one.group, "mean_of_spine_dice", one.mean_of_spine_dice, one.cases),
            (one.group, "mean_of_spine_hd95_mm", one.mean_of_spine_hd95_mm, one.cases),
            (one.group, "annotated_spine_dice", one.annotated_spine_dice, one.cases),
            (one.group, "annotated_spine_hd95_mm", one.annotated_spine_hd95_mm, one.cases),
            (one.group, "dice_mean_over_cases", one.dice_of_cases, one.cases),
            (one.group, "dice_mean_over_cases_strict", one.dice_of_cases_strict, one.cases),
            (one.group, "id_rate", one.id_rate, one.judged),
            (one.group, "precision", one.precision, one.vertebrae - one.missed + one.extra),
            (one.group, "d_mean_mm", one.d_mean_mm, one.compared_centers),
            (one.group, "d_median_mm", one.d_median_mm, one.compared_centers),
            (one.group, "missed_levels", one.missed, one.vertebrae),
            (one.group, "extra_levels", one.extra, None),
            (one.group, "extra_levels_unannotated", one.extra_unannotated, one.extra),
            (one.group, "cases_all_levels_right", one.cases_all_right, one.cases),
            (one.group, "cases_misnamed", one.cases_misnamed, one.cases),
            (one.group, "cases_misnamed_yet_certain", one.cases_misnamed_yet_certain, one.cases),
        ]
    return csv_text(("set", "measure", "value", "n"), rows)
