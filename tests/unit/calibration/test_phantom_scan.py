"""Digital phantom scans of known line: found without clicking, slope within 1 %, intercept within 1 mg/cm3, or refused with a reason."""

from dataclasses import replace

import numpy as np
import pytest

from builders.calibrations import scan_options
from trabecula_calibration.digital_phantom import make_phantom_scan, paint_phantom
from trabecula_calibration.phantom_definition import PhantomDefinition, phantom_named
from trabecula_calibration.phantom_pose import PhantomPose
from trabecula_calibration.phantom_scan import PhantomNotSeen, PhantomReading, read_phantom_scan
from trabecula_morphometry.volume import Grid, Volume

STRAIGHT = PhantomPose(origin_lps_mm=(0.0, 0.0, 0.0))
ASKEW = PhantomPose(origin_lps_mm=(14.0, -13.0, 5.0), angle_deg=23.0, lean_x=0.05, lean_y=-0.06, scale=1.1)
TURNED = PhantomPose(origin_lps_mm=(-12.0, 20.0, 0.0), angle_deg=181.0, lean_y=0.1, scale=0.9)
LEANING = PhantomPose(origin_lps_mm=(6.4, -13.7, 1.1), angle_deg=175.0, lean_x=-0.07, lean_y=0.08, scale=1.09)
SMALL = PhantomPose(origin_lps_mm=(-9.0, 8.0, 3.0), angle_deg=-15.0, lean_x=-0.05, lean_y=0.06, scale=0.94)
SPINE = {"size_mm": (310.0, 200.0, 120.0), "spacing_xyz_mm": (0.9, 0.9, 3.0)}
THICK = {"spacing_xyz_mm": (0.9, 0.9, 5.0), "noise_sd_hu": 20.0, "size_mm": (300.0, 180.0, 120.0)}
FAST = {"size_mm": (300.0, 180.0, 80.0), "spacing_xyz_mm": (1.0, 1.0, 3.0)}


def read(definition: PhantomDefinition, kvp: float, pose: PhantomPose, **more: object) -> tuple[PhantomReading, float, float]:
    options = scan_options(definition, kvp, pose, **{**FAST, **more})
    found = read_phantom_scan(make_phantom_scan(definition, options), definition, kvp)
    assert isinstance(found, PhantomReading), found.reasons
    line = found.line
    return (
        found,
        line.slope_mg_cm3_per_hu / options.slope_mg_cm3_per_hu - 1.0,
        line.intercept_mg_cm3 - options.intercept_mg_cm3,
    )


@pytest.mark.parametrize(
    ("name", "kvp", "pose", "more"),
    [
        ("mindways-model-3", 120.0, ASKEW, {"noise_sd_hu": 30.0}),
        ("mindways-model-3-qa", 140.0, STRAIGHT, {"noise_sd_hu": 15.0}),
        ("qrm-bdc-3", 80.0, TURNED, THICK),
        ("b-mas-200", 100.0, ASKEW, {"blur_mm": 0.4, "noise_sd_hu": 30.0}),
        ("siemens-osteo", 120.0, STRAIGHT, {"noise_sd_hu": 20.0}),
        ("esp", 120.0, STRAIGHT, {**SPINE, "spacing_xyz_mm": (0.9, 0.9, 2.5)}),
        ("esp", 80.0, LEANING, {**SPINE, "noise_sd_hu": 10.0}),
        ("esp", 140.0, SMALL, {**SPINE, "noise_sd_hu": 20.0}),
    ],
)
def test_the_line_is_found_within_one_percent_and_one_mg(name: str, kvp: float, pose: PhantomPose, more: dict[str, object]) -> None:
    found, slope_error, intercept_error = read(phantom_named(name), kvp, pose, **more)
    assert found.reasons == ()
    assert abs(slope_error) < 0.01
    assert abs(intercept_error) < 1.0


def test_a_phantom_under_a_patient_is_found(small_patient: Volume) -> None:
    definition = phantom_named("image-analysis-qct-3d")
    options = scan_options(definition, 120.0, PhantomPose(origin_lps_mm=(5.0, 125.0, 0.0), angle_deg=2.0), noise_sd_hu=10.0)
    painted = paint_phantom(small_patient, definition, options)
    found = read_phantom_scan(painted, definition, 120.0)
    assert isinstance(found, PhantomReading)
    assert found.reasons == ()
    assert abs(found.line.slope_mg_cm3_per_hu / options.slope_mg_cm3_per_hu - 1.0) < 0.01
    assert abs(found.line.intercept_mg_cm3 - options.intercept_mg_cm3) < 1.0


@pytest.fixture(scope="module")
def small_patient() -> Volume:
    """An oval of soft tissue with a bright rod of bone, a kidney and gas; a crude patient on which a phantom must not be seen."""
    grid_matrix = np.diag([1.5, 1.5, 4.0, 1.0])
    grid_matrix[:3, 3] = (-180.0, -160.0, -40.0)
    grid = Grid(shape_zyx=(20, 230, 240), voxel_to_lps=grid_matrix)
    _, y, x = np.meshgrid(np.arange(20), np.arange(230) * 1.5 - 160.0, np.arange(240) * 1.5 - 180.0, indexing="ij")
    hu = np.full(grid.shape_zyx, -1000.0, dtype=np.float32)
    hu[(x / 165) ** 2 + ((y + 10) / 105) ** 2 < 1] = -95.0
    hu[(x / 145) ** 2 + ((y + 10) / 88) ** 2 < 1] = 50.0
    for x0, y0, radius, value in ((0, 35, 20, 160), (60, 20, 25, 190), (-60, 20, 25, 190), (8, 5, 10, 150), (40, -60, 20, -950)):
        hu[np.hypot(x - x0, y - y0) < radius] = value
    hu += np.random.default_rng(3).normal(0.0, 12.0, hu.shape).astype(np.float32)
    return Volume(hu_zyx=np.rint(hu).astype(np.int16), grid=grid)


def test_a_scan_without_the_phantom_says_so(small_patient: Volume) -> None:
    found = read_phantom_scan(small_patient, phantom_named("mindways-model-3"), 120.0)
    assert isinstance(found, PhantomNotSeen) or found.reasons


def test_a_certificate_of_another_unit_is_refused_with_the_reason() -> None:
    definition = phantom_named("b-mas-200")
    scanned = make_phantom_scan(definition, scan_options(definition, 120.0, **FAST))
    wrong = tuple(replace(insert, density_mg_cm3=150.0) if insert.name == "HA 100" else insert for insert in definition.inserts)
    found = read_phantom_scan(scanned, replace(definition, inserts=wrong), 120.0)
    assert "mg/cm3 from the line" in " ".join(found.reasons) or isinstance(found, PhantomNotSeen)


def test_a_wrong_tube_voltage_is_refused_with_the_reason() -> None:
    definition = phantom_named("b-mas-200")
    found = read_phantom_scan(make_phantom_scan(definition, scan_options(definition, 80.0, **FAST)), definition, 140.0)
    assert found.reasons


def test_a_phantom_cut_by_the_field_is_refused() -> None:
    definition = phantom_named("mindways-model-3")
    pose = PhantomPose(origin_lps_mm=(110.0, 0.0, 0.0))
    found = read_phantom_scan(make_phantom_scan(definition, scan_options(definition, 120.0, pose, **FAST)), definition, 120.0)
    assert found.reasons
