"""Tables of a batch: a row per level (CSV and Parquet), a row per study, and the summary."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from trabecula_service.batch.store import BatchFolder, Outcome
from trabecula_service.pipeline.files import write_durably
from trabecula_service.render.measurements_table import COLUMNS, Column, Row, csv_bytes, parquet_bytes, table_rows
from trabecula_service.result import Result

CASE_COLUMN = Column("case", str, "Name of the study among the results: its folder, its row in studies.csv", lambda _result, _level: None)
COHORT_COLUMNS = (CASE_COLUMN, *COLUMNS)
_OUTCOME_COLUMNS = ("case", "state", "message", "seconds", "files", "input")
STUDY_COLUMNS = (*_OUTCOME_COLUMNS, "study_instance_uid", "status", "mean_density_mg_cm3", "max_grade")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What was written: file names, and the summary for people."""

    files: tuple[str, ...]
    summary: str


def write_tables(folder: BatchFolder) -> Tables:
    """Write the tables of everything that is done so far.

    ``results.parquet`` is left out, and the summary says so, where the extra ``export`` is not installed.
    """
    outcomes = folder.outcomes()
    rows: list[Row] = []
    studies: list[Row] = []
    results: list[Result] = []
    for outcome, result in _results(folder, outcomes):
        studies.append(_study(outcome, result))
        if result is not None:
            results.append(result)
            rows += [{"case": outcome.case, **row} for row in table_rows([result])]
    files = ["results.csv", "studies.csv", "summary.txt"]
    write_durably(folder.root / "results.csv", csv_bytes(rows, COHORT_COLUMNS))
    write_durably(folder.root / "studies.csv", _plain_csv(studies))
    note = ""
    try:
        write_durably(folder.root / "results.parquet", parquet_bytes(rows, COHORT_COLUMNS))
        files.insert(1, "results.parquet")
    except ImportError:
        note = '\nresults.parquet was not written: install "trabecula[export]"'
    summary = _summary(outcomes, results) + note
    write_durably(folder.root / "summary.txt", (summary + "\n").encode())
    return Tables(files=tuple(files), summary=summary)


def _results(folder: BatchFolder, outcomes: Iterable[Outcome]) -> Iterator[tuple[Outcome, Result | None]]:
    for outcome in outcomes:
        path = folder.study(outcome.case) / "result.json"
        yield outcome, Result.from_json(path.read_text(encoding="utf-8")) if path.exists() else None


def _study(outcome: Outcome, result: Result | None) -> Row:
    return {
        **{name: getattr(outcome, name) for name in _OUTCOME_COLUMNS},
        "study_instance_uid": result.source.study_instance_uid if result else None,
        "status": result.status if result else None,
        "mean_density_mg_cm3": result.density.mean_mg_cm3 if result else None,
        "max_grade": result.fractures.max_grade if result else None,
    }


def _plain_csv(rows: Sequence[Row]) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, STUDY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode("utf-8")


def _summary(outcomes: Sequence[Outcome], results: Sequence[Result]) -> str:
    states = Counter(str(outcome.state) for outcome in outcomes)
    lines = [f"{len(outcomes)} studies: {_counted(states)}"]
    reasons = Counter(str(flag.code) for result in results if result.status == "not_evaluable" for flag in result.flags[:1])
    if reasons:
        lines.append(f"not evaluable: {_counted(reasons)}")
    densities = [result.density.mean_mg_cm3 for result in results if result.density.mean_mg_cm3 is not None]
    if densities:
        bases = Counter(f"{r.density.basis} {r.density.material}" for r in results if r.density.mean_mg_cm3 is not None)
        lines.append(f"density in {len(densities)} studies, median {median(densities):.0f} mg/cm3: {_counted(bases)}")
    grades = Counter(f"grade {r.fractures.max_grade}" for r in results if r.fractures.max_grade is not None)
    if grades:
        lines.append(f"highest grade per study: {_counted(grades)}")
    if outcomes:
        lines.append(f"{median(outcome.seconds for outcome in outcomes):.1f} s per study (median)")
    lines += [f"failed: {outcome.case}: {outcome.message}" for outcome in outcomes if outcome.state == "failed"]
    return "\n".join(lines)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
