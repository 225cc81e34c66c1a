"""True beside measured: the table that the demonstration prints."""

from dataclasses import dataclass

from trabecula_morphometry.digital_patient import PatientTruth
from trabecula_service.result import Level, Result

DENSITY_LEVELS = ("L1", "L2", "L3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; texts, because a value that was not measured is said in words."""

    what: str
    true: str
    measured: str
    difference: str


def compare(truth: PatientTruth, result: Result) -> list[Row]:
    """Density of L1 to L3 and their mean, and every vertebra that is or was called fractured.

    The true density is what an error-free scan with the digital phantom would read.
    """
    levels = {level.name: level for level in result.levels}
    rows = [_density_row(name, truth.level(name).density_k2hpo4_mg_cm3, levels.get(name)) for name in DENSITY_LEVELS]
    rows.append(
        _number_row(
            f"mean density ({', '.join(result.density.levels) or 'none'})",
            _true_mean(truth, result),
            result.density.mean_mg_cm3,
            "mg/cm3",
            1,
        )
    )
    for level in truth.levels:
        found = levels.get(level.name)
        called = found.genant.grade if found else None
        if level.genant_grade or called:
            rows.append(
                Row(
                    what=f"{level.name} grade",
                    true=str(level.genant_grade),
                    measured=_text(called),
                    difference=_grade_difference(level.genant_grade, called),
                )
            )
            largest = max(level.height_loss.anterior, level.height_loss.middle, level.height_loss.posterior)
            measured = found.height_loss.max if found and found.height_loss else None
            rows.append(
                _number_row(f"{level.name} largest height loss", 100 * largest, None if measured is None else 100 * measured, "%", 0)
            )
    return rows


def _true_mean(truth: PatientTruth, result: Result) -> float:
    names = tuple(name for name in result.density.levels if any(level.name == name for level in truth.levels))
    return truth.mean_density_k2hpo4_mg_cm3(names or DENSITY_LEVELS)


def _density_row(name: str, true_mg_cm3: float, level: Level | None) -> Row:
    density = level.density if level else None
    row = _number_row(f"{name} density", true_mg_cm3, density.value_mg_cm3 if density else None, "mg/cm3", 1)
    if level and not density:
        reason = ", ".join(level.excluded) or "no reason given"
        return Row(what=row.what, true=row.true, measured=f"not measured ({reason})", difference="")
    return row


def _number_row(what: str, true: float, measured: float | None, unit: str, digits: int) -> Row:
    if measured is None:
        return Row(what=what, true=f"{true:.{digits}f} {unit}", measured="not measured", difference="")
    return Row(
        what=what, true=f"{true:.{digits}f} {unit}", measured=f"{measured:.{digits}f} {unit}", difference=f"{measured - true:+.{digits}f}"
    )


def _text(grade: int | None) -> str:
    return "not graded" if grade is None else str(grade)


def _grade_difference(true: int, measured: int | None) -> str:
    return "" if measured is None else ("same" if measured == true else f"{measured - true:+d}")


def as_text(rows: list[Row]) -> str:
    """The table for a terminal."""
    cells = [("", "true", "measured", "difference"), *((row.what, row.true, row.measured, row.difference) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(4)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)
