"""Changes of a scanner that end its calibration: a new tube, a new detector, new software."""

from dataclasses import dataclass
from datetime import date

from trabecula_calibration.entries import CalibrationEntryError


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerChange:
    """What was changed on which scanner and day; every entry of that scanner that began before that day counts as expired from it on.

    The scanner is named as in an entry. Whoever takes the change back enters nothing: like entries, changes are never removed.
    """

    manufacturer: str
    device_serial: str
    on: date
    what: str
    by: str = ""

    def __post_init__(self) -> None:
        if not (self.manufacturer.strip() and self.device_serial.strip() and self.what.strip()):
            raise CalibrationEntryError(
                "a change without scanner or reason", where=self.device_serial, hint="give manufacturer, device_serial and what"
            )
