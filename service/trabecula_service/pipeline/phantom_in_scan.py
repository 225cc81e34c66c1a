"""A phantom under the patient: its line, read from the very images, joins the registry for this one analysis."""

from datetime import date

from trabecula_calibration.phantom_scan import PhantomNotSeen, read_phantom_scan
from trabecula_calibration.registry import Registry
from trabecula_morphometry.codes import Code
from trabecula_service.calibrate.phantom_series import PhantomSeries, entry_of, find_definition
from trabecula_service.dicom.image import CtImage
from trabecula_service.result import Acquisition, Flag, flag

UNNAMED_SERIES = "this-image"
"""Stands for the series where the input has no UID (NIfTI)."""


def with_phantom_in_scan(
    image: CtImage, acquisition: Acquisition, registry: Registry, phantom: str | None, on_date: date
) -> tuple[Registry, list[Flag]]:
    """The registry with the line of the phantom in the image; where that cannot be used, the registry alone and a flag with the reasons."""
    if phantom is None:
        return registry, []
    definition = find_definition(phantom)
    if acquisition.kvp is None:
        return registry, [flag(Code.NO_CALIBRATION, "The phantom in the scan was not read: the tube voltage is unknown.")]
    reading = read_phantom_scan(image.volume, definition, acquisition.kvp)
    if isinstance(reading, PhantomNotSeen) or reading.reasons:
        return registry, [flag(Code.NO_CALIBRATION, f"The phantom in the scan was not used: {'; '.join(reading.reasons)}.")]
    series = PhantomSeries(
        volume=image.volume,
        acquisition=acquisition.model_copy(update={"manufacturer": acquisition.manufacturer or "unknown"}),
        series_instance_uid=image.source.series_instance_uid or UNNAMED_SERIES,
        scanned_on=on_date,
        reading=reading,
    )
    entry = entry_of(series, reading, by="analysis", today=on_date, entry_id=f"in-scan-{definition.name}", simultaneous=True)
    return Registry.of((*registry.entries, entry), registry.checks, registry.rules, registry.changes), []
