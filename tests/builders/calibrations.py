"""Calibration entries and phantom scans for tests."""

from datetime import date

from trabecula_calibration.digital_phantom import PhantomScanOptions
from trabecula_calibration.entries import CalibrationEntry
from trabecula_calibration.phantom_definition import PhantomDefinition
from trabecula_calibration.phantom_pose import PhantomPose
from trabecula_calibration.physics import Material, physics_slope

ENTRY = CalibrationEntry(
    id="ge-120",
    manufacturer="GE MEDICAL SYSTEMS",
    model="Discovery",
    device_serial="17",
    kvp=120,
    kernel_family="STANDARD",
    slope_mg_cm3_per_hu=0.74,
    intercept_mg_cm3=0.0,
    material=Material.K2HPO4,
    residual_sd_mg_cm3=3.0,
    valid_from=date(2026, 1, 1),
    valid_to=date(2026, 12, 31),
)


def scan_options(definition: PhantomDefinition, kvp: float, pose: PhantomPose | None = None, **more: object) -> PhantomScanOptions:
    """A scan on a scanner whose line lies 6 % and -4 mg/cm3 off the physics row."""
    return PhantomScanOptions(
        pose=pose or PhantomPose(origin_lps_mm=(0.0, 0.0, 0.0)),
        slope_mg_cm3_per_hu=1.06 * (physics_slope(kvp, definition.material) or 1.0),
        intercept_mg_cm3=-4.0,
        **more,  # type: ignore[arg-type]
    )
