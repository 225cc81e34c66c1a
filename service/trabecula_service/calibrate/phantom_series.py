"""A phantom series as DICOM becomes a reading, and an accepted reading becomes an entry."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from trabecula_calibration.entries import CalibrationEntry, CalibrationEntryError
from trabecula_calibration.matching import kernel_family
from trabecula_calibration.phantom_definition import PhantomDefinition, parse_phantom, phantom_named
from trabecula_calibration.phantom_scan import PhantomNotSeen, PhantomReading, read_phantom_scan
from trabecula_calibration.registry import Registry, folded
from trabecula_morphometry.errors import InputError
from trabecula_morphometry.volume import Volume
from trabecula_service.dicom.read import read_input
from trabecula_service.pipeline.acquisition_file import AcquisitionFacts, override, read_acquisition_file
from trabecula_service.result import Acquisition

DEFAULT_VALID_DAYS = 180
"""An entry without QA is not trusted for longer (clinical-facts 1, a choice)."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PhantomSeries:
    """A phantom series that was read: how it was made, and what the phantom gave."""

    volume: Volume
    acquisition: Acquisition
    series_instance_uid: str | None
    scanned_on: date | None
    reading: PhantomReading | PhantomNotSeen


def find_definition(name: str) -> PhantomDefinition:
    """A phantom of the package by name, or a site's own by its TOML file.

    Raises
    ------
    PhantomError : not known or malformed.
    InputError : the file cannot be read.
    """
    path = Path(name)
    if not name.endswith(".toml"):
        return phantom_named(name)
    try:
        return parse_phantom(path.read_text(encoding="utf-8"), name=path.stem)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the phantom file cannot be read", where=path.name, hint="check its path") from error


def read_phantom_series(
    path: Path, definition: PhantomDefinition, *, series_uid: str | None = None, acquisition_file: Path | None = None
) -> PhantomSeries:
    """Read a series and the phantom in it.

    Raises
    ------
    InputError : unreadable, no CT, or the tube voltage is not known.
    """
    image = read_input(path, series_uid=series_uid)
    facts = read_acquisition_file(acquisition_file) if acquisition_file else AcquisitionFacts()
    acquisition, _ = override(image.acquisition, facts)
    if acquisition.kvp is None or acquisition.manufacturer is None:
        raise InputError(
            "the scanner's maker or the tube voltage is not known", where=path.name, hint="give them with --acquisition FILE.toml"
        )
    return PhantomSeries(
        volume=image.volume,
        acquisition=acquisition,
        series_instance_uid=image.source.series_instance_uid,
        scanned_on=_scanned_on(image.headers[0] if image.headers else None),
        reading=read_phantom_scan(image.volume, definition, acquisition.kvp),
    )


def entry_of(
    series: PhantomSeries,
    reading: PhantomReading,
    *,
    by: str,
    today: date,
    entry_id: str | None = None,
    phantom_serial: str | None = None,
    valid_days: int = DEFAULT_VALID_DAYS,
    simultaneous: bool = False,
    supersedes: str | None = None,
) -> CalibrationEntry:
    """The entry of an accepted reading; it holds for the scanner, tube voltage and kernel of the series, from the day of the scan.

    ``simultaneous``: the phantom lay under a patient, and the line holds for this series alone.
    """
    acquisition, line = series.acquisition, reading.line
    day = series.scanned_on or today
    family = kernel_family(acquisition.kernel) if acquisition.kernel else None
    named = [
        acquisition.device_serial or acquisition.model or acquisition.manufacturer or "scanner",
        f"{acquisition.kvp:g}",
        family or "any",
    ]
    return CalibrationEntry(
        id=entry_id or "-".join([*(part.strip().replace(" ", "_").lower() for part in named), reading.definition.name, day.isoformat()]),
        manufacturer=acquisition.manufacturer or "",
        model=acquisition.model,
        device_serial=acquisition.device_serial,
        kvp=acquisition.kvp or 0.0,
        kernel_family=family,
        slope_mg_cm3_per_hu=round(line.slope_mg_cm3_per_hu, 6),
        intercept_mg_cm3=round(line.intercept_mg_cm3, 4),
        material=line.material,
        residual_sd_mg_cm3=round(line.residual_sd_mg_cm3, 4),
        r2=round(line.r2, 6),
        valid_from=day,
        valid_to=day + timedelta(days=valid_days),
        phantom=reading.definition.name,
        phantom_serial=phantom_serial,
        entered_by=by,
        entered_on=today,
        supersedes=supersedes,
        series_instance_uid=series.series_instance_uid if simultaneous else None,
        source=f"{reading.definition.title}, {len(reading.inserts)} inserts, noise {reading.noise_hu:.0f} HU",
    )


def entry_for_check(
    registry: Registry, series: PhantomSeries, reading: PhantomReading, entry_id: str | None, day: date
) -> CalibrationEntry:
    """The entry that a QA scan speaks for: the one named, or the newest of this scanner, tube voltage, kernel and phantom.

    Raises
    ------
    CalibrationEntryError : there is none.
    """
    acquisition = series.acquisition
    family = kernel_family(acquisition.kernel) if acquisition.kernel else None
    found = [
        entry
        for entry in registry.in_force()
        if (entry.id == entry_id if entry_id is not None else entry.valid_from <= day and entry.phantom in (None, reading.definition.name))
        and folded(entry.manufacturer) == folded(acquisition.manufacturer)
        and folded(entry.device_serial) == folded(acquisition.device_serial)
        and entry.kvp == acquisition.kvp
        and (entry.kernel_family is None or family is None or kernel_family(entry.kernel_family) == family)
        and entry.series_instance_uid is None
    ]
    if not found:
        raise CalibrationEntryError("no entry of this scanner, tube voltage and kernel", where=entry_id or "registry", hint="fit one first")
    return max(found, key=lambda entry: (entry.valid_from, entry.id))


def _scanned_on(header: object) -> date | None:
    for keyword in ("AcquisitionDate", "SeriesDate", "StudyDate"):
        value = str(getattr(header, keyword, "") or "")
        try:
            return date(int(value[:4]), int(value[4:6]), int(value[6:8]))
        except ValueError:
            continue
    return None
