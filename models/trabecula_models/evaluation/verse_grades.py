"""VerSe's spreadsheet of fracture grades, shapes and densities (Loeffler 2020, appendix E1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from trabecula_models.evaluation.spreadsheet import Row, read_table
from trabecula_morphometry.errors import InputError
from trabecula_morphometry.levels import LABEL_OF_LEVEL

NOT_GRADABLE = "x"
"""The table's mark for foreign material in a vertebra."""

_TYPES = {0: None, 1: "wedge", 2: "biconcave", 3: "crush"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderGrade:
    """Genant grade and type of one vertebra; ``grade`` is None where foreign material kept the readers from grading."""

    grade: int | None
    type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """What the table says of one image series; ``bmd_mg_cm3`` is the patient's calibrated lumbar density."""

    series: int
    patient: str
    grades: Mapping[str, ReaderGrade]
    bmd_mg_cm3: float | None = None
    age_years: float | None = None


def read_verse_grades(path: Path) -> dict[int, SeriesRow]:
    """Read the table, one row per series (``verse_ID``, ``subject_ID``, ``L1_fx-g``, ``L1_fx-s``, ``BMD``) or one per vertebra
    (``verse_id``, ``subject_id``, ``level``, ``fx_grade``, ``fx_shape``).

    Returns
    -------
    rows : by number of the image series. Levels with an empty cell were not in view and are left out.

    Raises
    ------
    InputError : no such columns, or a grade that is none of 0, 1, 2, 3, x.
    """
    rows = read_table(path, _is_header)
    if not rows:
        raise InputError("the spreadsheet has no rows under its column names", where=path.name, hint="see docs/researcher.md")
    return _from_long(rows, path) if "level" in rows[0] else _from_wide(rows, path)


def _is_header(names: Sequence[str]) -> bool:
    lowered = {name.lower() for name in names}
    return "verse_id" in lowered and ("fx_grade" in lowered or any(name.endswith("_fx-g") for name in lowered))


def _from_wide(rows: Sequence[Row], path: Path) -> dict[int, SeriesRow]:
    found = {}
    for raw in rows:
        row = {name.lower(): value for name, value in raw.items()}
        if not row.get("verse_id"):
            continue
        series = _whole(row["verse_id"], path)
        grades = {}
        for level in LABEL_OF_LEVEL:
            text = row.get(f"{level.lower()}_fx-g", "")
            if text:
                grades[level] = _grade(text, row.get(f"{level.lower()}_fx-s", ""), path)
        found[series] = _series_row(series, row, grades, "bmd", "age_ct")
    return found


def _from_long(rows: Sequence[Row], path: Path) -> dict[int, SeriesRow]:
    grades: dict[int, dict[str, ReaderGrade]] = {}
    first: dict[int, Row] = {}
    for row in rows:
        if row.get("fx_grade"):
            series = _whole(row["verse_id"], path)
            first.setdefault(series, row)
            grades.setdefault(series, {})[row["level"].upper()] = _grade(row["fx_grade"], row.get("fx_shape", ""), path)
    return {series: _series_row(series, first[series], of_series, "bmd_mg_cm3", "age") for series, of_series in grades.items()}


def _series_row(series: int, row: Row, grades: Mapping[str, ReaderGrade], bmd: str, age: str) -> SeriesRow:
    return SeriesRow(
        series=series,
        patient=row.get("subject_id") or str(series),
        grades=grades,
        bmd_mg_cm3=_number_or_none(row.get(bmd, "")),
        age_years=_number_or_none(row.get(age, "")),
    )


def _grade(grade_text: str, shape_text: str, path: Path) -> ReaderGrade:
    if grade_text.lower() == NOT_GRADABLE:
        return ReaderGrade(grade=None, type=None)
    grade = _whole(grade_text, path)
    shape = 0 if not shape_text or shape_text.lower() == NOT_GRADABLE else _whole(shape_text, path)
    if grade not in range(4) or shape not in _TYPES:
        raise InputError("the spreadsheet holds a grade or shape that is none", where=path.name, hint="0, 1, 2, 3 or x are expected")
    return ReaderGrade(grade=grade, type=_TYPES[shape] if grade else None)


def _whole(text: str, path: Path) -> int:
    value = _number_or_none(text)
    if value is None or value != int(value):
        raise InputError("the spreadsheet holds no whole number where one is expected", where=path.name, hint=f"found {text[:20]!r}")
    return int(value)


def _number_or_none(text: str) -> float | None:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if isfinite(value) else None
