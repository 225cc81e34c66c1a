"""The files and the printed text of an evaluation."""

from collections.abc import Mapping
from pathlib import Path

from trabecula_models.evaluation.case_names import series_number
from trabecula_models.evaluation.evaluate_cases import Evaluation
from trabecula_models.evaluation.grade_report import agreement_csv, confusion_csv, grade_table, pair_grades, pairs_csv
from trabecula_models.evaluation.result_tables import cases_csv, csv_text, levels_csv, summary_csv
from trabecula_models.evaluation.summary import summarize
from trabecula_models.evaluation.text_tables import identification_table, segmentation_table
from trabecula_models.evaluation.verse_grades import SeriesRow
from trabecula_service.pipeline.files import write_durably


def write_report(out: Path, evaluation: Evaluation, title: str) -> str:
    """Write levels.csv, cases.csv, summary.csv and table.txt; returns the text of the table."""
    sets = [summarize([score for score in evaluation.scores if score.group == group], group) for group in evaluation.groups]
    left_out = [f"Left out: {name}: {why}" for name, why in evaluation.left_out]
    makers = sorted({score.made_by for score in evaluation.scores if score.made_by})
    made_by = [f"Predictions made by {maker}" for maker in makers]
    mixed = ["These are results of more than one version: do not report them as one."] if len(makers) > 1 else []
    text = "\n".join([title, *made_by, *mixed, "", segmentation_table(sets), identification_table(sets), *left_out])
    for name, content in (
        ("levels.csv", levels_csv(evaluation.scores)),
        ("cases.csv", cases_csv(evaluation.scores)),
        ("summary.csv", summary_csv(sets)),
        ("table.txt", text),
    ):
        write_durably(out / name, content.encode())
    return text


def write_grade_report(out: Path, evaluation: Evaluation, rows: Mapping[int, SeriesRow]) -> str:
    """Write grades.csv, grade_agreement.csv, grade_confusion.csv, density.csv and grades.txt; returns the text.

    Cases without a row in the spreadsheet are named in the text.
    """
    row_of = {name: rows.get(series_number(name) or -1) for name in evaluation.predictions}
    pairs = [
        pair for name, prediction in evaluation.predictions.items() if (row := row_of[name]) for pair in pair_grades(name, row, prediction)
    ]
    without = [name for name, row in row_of.items() if row is None]
    text = grade_table(pairs)
    if without:
        text += f"\nNo row in the spreadsheet: {', '.join(without)}\n"
    density = csv_text(
        ("case", "patient", "reader_mg_cm3", "mean_mg_cm3", "basis"),
        (
            (name, row.patient, row.bmd_mg_cm3, prediction.density_mg_cm3, prediction.density_basis)
            for name, prediction in evaluation.predictions.items()
            if (row := row_of[name])
        ),
    )
    for name, content in (
        ("grades.csv", pairs_csv(pairs)),
        ("grade_agreement.csv", agreement_csv(pairs)),
        ("grade_confusion.csv", confusion_csv(pairs)),
        ("density.csv", density),
        ("grades.txt", text),
    ):
        write_durably(out / name, content.encode())
    return text
