"""A digital phantom scan of known line as a DICOM series, to practise with and to draw the pictures of the documentation."""

from datetime import datetime
from pathlib import Path

from trabecula_calibration.digital_phantom import PhantomScanOptions, make_phantom_scan
from trabecula_calibration.phantom_pose import PhantomPose
from trabecula_calibration.physics import physics_slope
from trabecula_morphometry.digital_patient import PatientOptions
from trabecula_service.calibrate.phantom_series import find_definition
from trabecula_service.demo.ct_series import write_ct_series

SCANNER_SLOPE_FACTOR = 1.04
"""A real scanner is not the one of the physics row."""

SCANNER_INTERCEPT_MG_CM3 = -3.0


def write_practice_series(
    folder: Path, phantom: str, *, kvp: int, angle_deg: float, tilt: float, noise_hu: float, drift_hu: float, seed: int, made: datetime
) -> tuple[float, float]:
    """Write the series; returns the true slope and intercept, ``drift_hu`` included."""
    definition = find_definition(phantom)
    slope = SCANNER_SLOPE_FACTOR * (physics_slope(float(kvp), definition.material) or 1.0)
    intercept = SCANNER_INTERCEPT_MG_CM3 - slope * drift_hu
    options = PhantomScanOptions(
        pose=PhantomPose(origin_lps_mm=(12.0, 18.0, 0.0), angle_deg=angle_deg, lean_x=tilt, lean_y=-tilt / 2),
        slope_mg_cm3_per_hu=slope,
        intercept_mg_cm3=intercept,
        noise_sd_hu=noise_hu,
        seed=seed,
    )
    # The writer takes the tube voltage from a patient's options; nothing else of it is used.
    write_ct_series(make_phantom_scan(definition, options), PatientOptions(tube_voltage_kvp=kvp, seed=seed), folder, made=made)
    return slope, intercept
