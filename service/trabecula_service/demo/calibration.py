"""The demo's calibration entry: the line of the digital phantom, so that the density has the basis "calibrated"."""

from datetime import date, timedelta
from pathlib import Path

from trabecula_morphometry.digital_patient import DigitalPhantomLine
from trabecula_service.demo.ct_series import DemoScanner

CALIBRATION_ID = "digital-phantom"


def write_calibration(
    path: Path, line: DigitalPhantomLine, *, tube_voltage_kvp: int, today: date, scanner: DemoScanner | None = None
) -> Path:
    """Write a calibration file with one entry, valid for a month around today."""
    of = scanner or DemoScanner()
    path.write_text(
        f"""[[entry]]
id = "{CALIBRATION_ID}"
manufacturer = "{of.manufacturer}"
model = "{of.model}"
device_serial = "{of.device_serial}"
kvp = {tube_voltage_kvp}
kernel_family = "soft"
slope = {1 / line.slope_hu_per_mg_cm3:.6f}
intercept = {-line.intercept_hu / line.slope_hu_per_mg_cm3:.3f}
material = "{line.material}"
residual_sd_mg_cm3 = 1.0
valid_from = {today - timedelta(days=15)}
valid_to = {today + timedelta(days=15)}
source = "the digital phantom of the demonstration"
""",
        encoding="utf-8",
    )
    return path
