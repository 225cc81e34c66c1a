"""Calibration entries: lines from HU to mg/cm3 measured with a phantom on one scanner at one tube voltage, and their TOML form."""

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date

from trabecula_calibration.physics import Material, physics_slope
from trabecula_morphometry.errors import TrabeculaError

SLOPE_TOLERANCE = 0.20
MAX_INTERCEPT_MG_CM3 = 20.0
"""Plausibility gate of a line: slope within +-20 % of the physics row for its kVp, intercept within 20 mg/cm3 (engineering choice)."""


class CalibrationEntryError(TrabeculaError):
    """A calibration entry is malformed or implausible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationEntry:
    """density = slope * HU + intercept, in mg/cm3 of ``material``.

    ``model``, ``device_serial`` and ``kernel_family`` are None where the entry does not say; ``valid_to`` None means open. An entry is
    never changed: a correction is a new entry whose ``supersedes`` names the old one. ``series_instance_uid`` is given for a phantom that
    lay under a patient: such a line holds for that series alone.
    """

    id: str
    manufacturer: str
    kvp: float
    slope_mg_cm3_per_hu: float
    intercept_mg_cm3: float
    material: Material
    residual_sd_mg_cm3: float
    valid_from: date
    valid_to: date | None = None
    model: str | None = None
    device_serial: str | None = None
    kernel_family: str | None = None
    source: str = ""
    phantom: str | None = None
    phantom_serial: str | None = None
    r2: float | None = None
    entered_by: str | None = None
    entered_on: date | None = None
    supersedes: str | None = None
    series_instance_uid: str | None = None

    def __post_init__(self) -> None:
        """Refuse a line that no CT scanner can have."""
        expected = physics_slope(self.kvp, self.material)
        numbers = (self.slope_mg_cm3_per_hu, self.intercept_mg_cm3, self.residual_sd_mg_cm3)
        if not self.id or not all(math.isfinite(number) for number in numbers):
            raise CalibrationEntryError(
                "the entry has no id or a number is not finite", where=self.id, hint="give id, slope, intercept and residual SD"
            )
        if expected is None:
            raise CalibrationEntryError(
                f"tube voltage of {self.kvp:g} kVp is outside 80-140", where=self.id, hint="give the kVp of the phantom scan"
            )
        if abs(self.slope_mg_cm3_per_hu / expected - 1) > SLOPE_TOLERANCE:
            raise CalibrationEntryError(
                f"slope {self.slope_mg_cm3_per_hu:g} is more than 20 % from {expected:.2f}, the physics slope at {self.kvp:g} kVp",
                where=self.id,
                hint="check that the line is mg/cm3 per HU and the kVp is right",
            )
        if abs(self.intercept_mg_cm3) > MAX_INTERCEPT_MG_CM3:
            raise CalibrationEntryError(
                f"intercept {self.intercept_mg_cm3:g} mg/cm3 is beyond 20", where=self.id, hint="check the phantom's water value"
            )
        if self.supersedes == self.id:
            raise CalibrationEntryError("an entry cannot supersede itself", where=self.id, hint="give the correction its own id")
        if self.residual_sd_mg_cm3 < 0 or (self.valid_to is not None and self.valid_to < self.valid_from):
            raise CalibrationEntryError("negative residual SD or dates in the wrong order", where=self.id, hint="correct the entry")

    def density_mg_cm3(self, hu: float) -> float:
        """Density of an attenuation by this line."""
        return self.slope_mg_cm3_per_hu * hu + self.intercept_mg_cm3

    @property
    def content_sha256(self) -> str:
        """Hash of everything the entry says: two entries with one hash are the same entry."""
        # 120 and 120.0 are one tube voltage.
        said = {key: float(value) if isinstance(value, int | float) else value for key, value in asdict(self).items()}
        text = json.dumps(said, sort_keys=True, default=str, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


_TEXT = (
    "id",
    "manufacturer",
    "model",
    "device_serial",
    "kernel_family",
    "source",
    "phantom",
    "phantom_serial",
    "entered_by",
    "supersedes",
    "series_instance_uid",
)
_NUMBERS = {
    "kvp": "kvp",
    "slope": "slope_mg_cm3_per_hu",
    "intercept": "intercept_mg_cm3",
    "residual_sd_mg_cm3": "residual_sd_mg_cm3",
    "r2": "r2",
}
_DATES = ("valid_from", "valid_to", "entered_on")
_REQUIRED = {"id", "manufacturer", "kvp", "slope", "intercept", "material", "valid_from"}
DEFAULT_RESIDUAL_SD_MG_CM3 = 5.0
"""Where the entry does not say: repeat CT on another session differs by 4.7 % (Eur Radiol Exp 2024)."""


def parse_entries(toml_text: str) -> tuple[CalibrationEntry, ...]:
    """Entries from a TOML file with ``[[entry]]`` tables; ``[[check]]`` and ``[[change]]`` tables are left to ``parse_registry``.

    Keys: id, manufacturer, kvp, slope (mg/cm3 per HU), intercept (mg/cm3), material ("HA" or "K2HPO4"), valid_from; optional: model,
    device_serial, kernel_family, valid_to, residual_sd_mg_cm3, source, phantom, phantom_serial, r2, entered_by, entered_on, supersedes,
    series_instance_uid. Unknown keys, wrong types and double ids are refused by name.
    """
    tables = calibration_tables(toml_text)["entry"]
    entries = tuple(_parse_entry(table, index) for index, table in enumerate(tables))
    ids = [entry.id for entry in entries]
    if len(set(ids)) != len(ids):
        raise CalibrationEntryError(
            "two entries have the same id", where=next(i for i in ids if ids.count(i) > 1), hint="give each entry its own id"
        )
    return entries


_TABLES = {"entry", "check", "change"}


def calibration_tables(toml_text: str) -> dict[str, list[object]]:
    """The ``[[entry]]``, ``[[check]]`` and ``[[change]]`` tables of a calibration file."""
    try:
        document = tomllib.loads(toml_text)
    except tomllib.TOMLDecodeError as error:
        raise CalibrationEntryError("the calibration file is not TOML", hint=str(error)) from error
    entries, checks, changes = document.get("entry"), document.get("check", []), document.get("change", [])
    if not isinstance(entries, list) or not isinstance(checks, list) or not isinstance(changes, list) or set(document) - _TABLES:
        raise CalibrationEntryError("the calibration file holds no list of [[entry]] tables", hint="start each entry with [[entry]]")
    return {"entry": entries, "check": checks, "change": changes}


def entry_toml(entry: CalibrationEntry) -> str:
    """An entry as a ``[[entry]]`` table; parsing it gives the same entry."""
    return table_toml("entry", {key: getattr(entry, _NUMBERS.get(key, key)) for key in (*_TEXT, *_NUMBERS, "material", *_DATES)})


def table_toml(name: str, values: Mapping[str, object]) -> str:
    """One TOML table of texts, numbers and dates; None is left out. JSON's text escapes are valid in TOML's basic strings."""
    lines = [f"[[{name}]]"]
    for key, value in values.items():
        if value is None or (key == "source" and value == ""):
            continue
        text = value.isoformat() if isinstance(value, date) else json.dumps(str(value)) if isinstance(value, str) else repr(value)
        lines.append(f"{key} = {text}")
    return "\n".join(lines) + "\n"


def _parse_entry(table: object, index: int) -> CalibrationEntry:
    where = f"entry {index + 1}"
    if not isinstance(table, Mapping):
        raise CalibrationEntryError("an entry is not a table", where=where, hint="start each entry with [[entry]]")
    known = {*_TEXT, *_NUMBERS, "material", *_DATES}
    unknown, missing = sorted(set(table) - known), sorted(_REQUIRED - set(table))
    if unknown or missing:
        what = f"unknown keys {', '.join(unknown)}" if unknown else f"missing keys {', '.join(missing)}"
        raise CalibrationEntryError(what, where=where, hint=f"known keys: {', '.join(sorted(known))}")
    try:
        texts = {key: parsed_text(table[key]) for key in _TEXT if key in table}
        numbers = {field: parsed_number(table[key]) for key, field in _NUMBERS.items() if key in table}
        numbers.setdefault("residual_sd_mg_cm3", DEFAULT_RESIDUAL_SD_MG_CM3)
        material = Material(parsed_text(table["material"]))
        dates = {key: parsed_date(table[key]) for key in _DATES if key in table}
    except ValueError as error:
        raise CalibrationEntryError("a value has the wrong type or is not known", where=where, hint=str(error)) from error
    return CalibrationEntry(material=material, **texts, **numbers, **dates)  # type: ignore[arg-type]


def parsed_text(value: object) -> str:
    """A TOML text; ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} should be a text")
    return value


def parsed_number(value: object) -> float:
    """A TOML number; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} should be a number")
    return float(value)


def parsed_date(value: object) -> date:
    """Day of a TOML date or date-time; ValueError for anything else."""
    if not isinstance(value, date):
        raise ValueError(f"{value!r} should be a date like 2026-01-31")
    # A TOML date-time is a date as well; only the day counts.
    return date(value.year, value.month, value.day)
