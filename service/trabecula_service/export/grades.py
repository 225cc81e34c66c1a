"""The data set's spreadsheet: a row per series with its grades, shapes and density, as VerSe's (Loeffler 2020, appendix E1)."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from trabecula_models.evaluation.verse_grades import NOT_GRADABLE
from trabecula_morphometry.codes import Code
from trabecula_morphometry.levels import GRADED_LEVELS
from trabecula_service.result import Level, Result

_SHAPES = {None: 0, "wedge": 1, "biconcave": 2, "crush": 3}
_FOREIGN = frozenset({Code.METAL, Code.CEMENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedSubject:
    """A subject of the data set with its result."""

    number: int
    subject: str
    result: Result


def grades_csv(subjects: Sequence[GradedSubject]) -> bytes:
    """``grades.csv``. Empty: not in view, or in view and not graded; ``x``: foreign material. ``reviewed`` is the reader's verdict."""
    levels = [name for name in GRADED_LEVELS if any(level.name == name for entry in subjects for level in entry.result.levels)]
    columns = ["verse_ID", "subject_ID", "sex", "age_CT", "BMD", "BMD_low", "BMD_high", "BMD_basis", "BMD_material", "reviewed"]
    columns += [f"{name}_fx-{part}" for name in levels for part in ("g", "s")]
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for entry in subjects:
        writer.writerow(_row(entry))
    return buffer.getvalue().encode("utf-8")


def _row(entry: GradedSubject) -> dict[str, object]:
    result = entry.result
    low, high = result.density.interval95 or (None, None)
    row: dict[str, object] = {
        "verse_ID": entry.number,
        "subject_ID": entry.subject,
        "sex": result.acquisition.sex,
        "age_CT": result.acquisition.age_years,
        "BMD": result.density.mean_mg_cm3,
        "BMD_low": low,
        "BMD_high": high,
        "BMD_basis": result.density.basis,
        "BMD_material": result.density.material,
        "reviewed": result.signature.verdict if result.signature else "no",
    }
    for level in result.levels:
        if level.name in GRADED_LEVELS:
            row[f"{level.name}_fx-g"], row[f"{level.name}_fx-s"] = _grade(level)
    return row


def _grade(level: Level) -> tuple[object, object]:
    if _FOREIGN & set(level.excluded):
        return NOT_GRADABLE, NOT_GRADABLE
    if level.genant.grade is None:
        return None, None
    return level.genant.grade, _SHAPES[level.genant.type if level.genant.grade else None]
