"""The result as a table: one row per vertebral level, the study's columns repeated; CSV for a study, CSV or Parquet for a cohort.

It holds no identity of the patient; ``study_instance_uid`` links it to the images. ``docs/data-dictionary.md`` explains each column, and a
test holds the two together.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from trabecula_service.render.document_input import DocumentInput
from trabecula_service.result import Heights, Level, Result

Cell: TypeAlias = str | float | int | bool | None
Row: TypeAlias = dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name with the unit in it, the type of its cells, and what it means."""

    name: str
    kind: type[str] | type[float] | type[int] | type[bool]
    meaning: str
    cell: Callable[[Result, Level | None], Cell]


def _study(name: str, kind: type, meaning: str, cell: Callable[[Result], Cell]) -> Column:
    return Column(name, kind, meaning, lambda result, _level: cell(result))


def _level(name: str, kind: type, meaning: str, cell: Callable[[Level], Cell]) -> Column:
    return Column(name, kind, meaning, lambda _result, level: None if level is None else cell(level))


def _heights(prefix: str, suffix: str, meaning: str, part: Callable[[Level], Heights | None]) -> tuple[Column, ...]:
    def column(place: str) -> Column:
        return _level(f"{prefix}_{place}{suffix}", float, f"{meaning}, {place}", lambda level: getattr(part(level), place, None))

    return tuple(column(place) for place in ("anterior", "middle", "posterior"))


def _probabilities() -> tuple[Column, ...]:
    def column(grade: int) -> Column:
        return _level(
            f"grade_{grade}_probability", float, f"Probability of grade {grade}", lambda level: _limit(level.genant.probability, grade)
        )

    return tuple(column(grade) for grade in range(4))


COLUMNS: tuple[Column, ...] = (
    _study("study_instance_uid", str, "Study of the images; empty for NIfTI", lambda r: r.source.study_instance_uid),
    Column("series_instance_uid", str, "Series that the level was measured in", lambda r, v: _series(r, v)),
    _study("status", str, "complete, partial or not_evaluable", lambda r: r.status),
    _study("software_version", str, "Version of Trabecula", lambda r: r.software.version),
    _study("weights_sha256", str, "Hash of the network weights", lambda r: r.software.weights_sha256),
    _study("manufacturer", str, "Manufacturer of the scanner", lambda r: r.acquisition.manufacturer),
    _study("model", str, "Model of the scanner", lambda r: r.acquisition.model),
    _study("tube_voltage_kvp", float, "Tube voltage, kV", lambda r: r.acquisition.kvp),
    _study("kernel", str, "Reconstruction kernel", lambda r: r.acquisition.kernel),
    _study("slice_thickness_mm", float, "Nominal slice thickness, mm", lambda r: r.acquisition.slice_thickness_mm),
    _study("slice_spacing_mm", float, "Distance of the slices, mm", lambda r: r.source.slice_spacing_mm),
    _study("contrast_phase", str, "unenhanced, arterial, portal_venous, delayed or unknown", lambda r: r.acquisition.contrast.phase),
    _study("age_years", float, "Age at the scan, years", lambda r: r.acquisition.age_years),
    _study("sex", str, "F or M", lambda r: r.acquisition.sex),
    _study("mean_density_mg_cm3", float, "Mean trabecular density of the study, mg/cm3", lambda r: r.density.mean_mg_cm3),
    _study("mean_density_low_mg_cm3", float, "Lower limit of its 95 % interval, mg/cm3", lambda r: _limit(r.density.interval95, 0)),
    _study("mean_density_high_mg_cm3", float, "Upper limit of its 95 % interval, mg/cm3", lambda r: _limit(r.density.interval95, 1)),
    _study("mean_density_levels", str, "Levels in the mean, separated by blanks", lambda r: " ".join(r.density.levels) or None),
    _study("density_basis", str, "calibrated, simultaneous, phantomless, estimate or none", lambda r: r.density.basis),
    _study("density_material", str, "Base material: K2HPO4 or HA; never compare across", lambda r: r.density.material),
    _study("calibration_id", str, "Entry of the calibration registry", lambda r: r.density.calibration_id),
    _study("density_category", str, "low, intermediate or normal", lambda r: r.density.category),
    _study("max_grade", int, "Highest Genant grade of the study", lambda r: r.fractures.max_grade),
    _study("spinal_deformity_index", int, "Sum of the grades T4 to L4", lambda r: r.fractures.spinal_deformity_index),
    _study("deformity_index_complete", bool, "Whether all of T4 to L4 was graded", lambda r: r.fractures.spinal_deformity_index_complete),
    _study("numbering_certain", bool, "Whether the level names are certain", lambda r: r.numbering.certain),
    _study("study_flags", str, "Codes at study level, separated by blanks", lambda r: _codes(f.code for f in r.flags if f.level is None)),
    _level("level", str, "Name of the vertebra; empty where no vertebra was found", lambda v: v.name),
    _level("level_confidence", float, "Confidence of the name, 0 to 1", lambda v: v.confidence),
    _level("center_left_mm", float, "Centre of the body, LPS x, mm", lambda v: v.center_lps_mm[0]),
    _level("center_posterior_mm", float, "Centre of the body, LPS y, mm", lambda v: v.center_lps_mm[1]),
    _level("center_superior_mm", float, "Centre of the body, LPS z, mm", lambda v: v.center_lps_mm[2]),
    _level("body_complete", bool, "Whether the whole body lies in the field of view", lambda v: v.complete),
    _level("density_mg_cm3", float, "Trabecular density, mg/cm3", lambda v: v.density.value_mg_cm3 if v.density else None),
    _level("density_low_mg_cm3", float, "Lower limit of its 95 % interval", lambda v: _limit(_interval(v), 0)),
    _level("density_high_mg_cm3", float, "Upper limit of its 95 % interval", lambda v: _limit(_interval(v), 1)),
    _level("hu_mean", float, "Mean attenuation of the trabecular volume of interest, HU", lambda v: v.hu.mean if v.hu else None),
    _level("hu_median", float, "Its median, HU", lambda v: v.hu.median if v.hu else None),
    _level("hu_sd", float, "Its standard deviation, HU", lambda v: v.hu.sd if v.hu else None),
    _level("voi_volume_mm3", float, "Size of that volume, mm3", lambda v: v.hu.volume_mm3 if v.hu else None),
    *_heights("height", "_mm", "Height of the body, mm", lambda v: v.heights_mm),
    *_heights("height_sd", "_mm", "Standard uncertainty of the height, mm", lambda v: v.heights_sd_mm),
    *_heights("expected", "_mm", "Height expected from the neighbours, mm", lambda v: v.expected_mm),
    *_heights("loss", "", "Height loss, fraction of the expected height", lambda v: v.height_loss),
    _level("loss_max", float, "Largest of the three, fraction", lambda v: v.height_loss.max if v.height_loss else None),
    _level("genant_grade", int, "Genant grade 0 to 3", lambda v: v.genant.grade),
    _level("genant_type", str, "wedge, biconcave or crush", lambda v: v.genant.type),
    *_probabilities(),
    _level("excluded", str, "Codes why the level is left out or not graded, separated by blanks", lambda v: _codes(v.excluded)),
)  # fmt: skip


def measurements_csv(document_input: DocumentInput) -> bytes:
    """``measurements.csv``."""
    return csv_bytes(table_rows([document_input.result]))


def table_rows(results: Iterable[Result]) -> list[Row]:
    """Rows of several results; a result without levels has one row, so that no study is missing from a cohort."""
    rows: list[Row] = []
    for result in results:
        rows += [_row(result, level) for level in result.levels] or [_row(result, None)]
    return rows


def _row(result: Result, level: Level | None) -> Row:
    return {column.name: column.cell(result, level) for column in COLUMNS}


def csv_bytes(rows: Sequence[Row], columns: Sequence[Column] = COLUMNS) -> bytes:
    """UTF-8 CSV with a header line; an empty cell was not measured."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, [column.name for column in columns], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: str(value).lower() if isinstance(value, bool) else value for name, value in row.items()})
    return buffer.getvalue().encode("utf-8")


def parquet_bytes(rows: Sequence[Row], columns: Sequence[Column] = COLUMNS) -> bytes:
    """The same table as Parquet, typed, each column with its meaning in the schema's metadata; needs the extra ``export``."""
    # Imported here: only cohorts need it, and it takes a third of a second.
    import pyarrow
    from pyarrow import parquet

    types = {str: pyarrow.string(), float: pyarrow.float64(), int: pyarrow.int64(), bool: pyarrow.bool_()}
    fields = [pyarrow.field(column.name, types[column.kind], metadata={"meaning": column.meaning}) for column in columns]
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=pyarrow.schema(fields)), sink)
    return bytes(sink.getvalue())


def _series(result: Result, level: Level | None) -> str | None:
    return (level.series_instance_uid if level else None) or result.source.series_instance_uid


def _interval(level: Level) -> tuple[float, float] | None:
    return level.density.interval95 if level.density else None


def _limit(values: Sequence[float] | None, index: int) -> float | None:
    return None if values is None else values[index]


def _codes(codes: Iterable[str]) -> str | None:
    return " ".join(dict.fromkeys(str(code) for code in codes)) or None
