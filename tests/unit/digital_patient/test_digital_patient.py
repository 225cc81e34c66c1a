"""A digital patient is what its truth says."""

import numpy as np
import pytest
from scipy import ndimage

from trabecula_morphometry.digital_patient import (
    COLUMN_LEVELS,
    DigitalPatient,
    LevelTruth,
    PatientOptions,
    VertebralFracture,
    make_digital_patient,
    phantom_line_at,
)
from trabecula_morphometry.digital_patient.column import plan_column
from trabecula_morphometry.digital_patient.truth import grade_of_loss
from trabecula_morphometry.errors import SettingsError
from trabecula_morphometry.levels import LABEL_OF_LEVEL, SACRUM_LABEL

NARROW = {"field_of_view_mm": 160.0, "spacing_xyz_mm": (1.0, 1.0, 2.0)}
QUIET = PatientOptions(noise_sd_hu=0.0, **NARROW)


@pytest.fixture(scope="module")
def quiet() -> DigitalPatient:
    return make_digital_patient(QUIET)


def _core_hu(patient: DigitalPatient, level: str, depth_mm: float = 6.0) -> float:
    inside = patient.bodies.labels_zyx == LABEL_OF_LEVEL[level]
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    depth = ndimage.distance_transform_edt(np.pad(inside[box], 1), sampling=patient.volume.grid.spacing_xyz_mm[::-1])[1:-1, 1:-1, 1:-1]
    return float(patient.volume.hu_zyx[box][depth > depth_mm].mean())


@pytest.mark.parametrize("level", [name for name in COLUMN_LEVELS if name != "T12"])
def test_trabecular_bone_reads_its_density(quiet: DigitalPatient, level: str) -> None:
    line, truth = quiet.truth.line, quiet.truth.level(level)
    assert line.density_of(_core_hu(quiet, level)) == pytest.approx(truth.density_k2hpo4_mg_cm3, abs=2.0)
    assert truth.trabecular_hu == pytest.approx(1.35 * truth.density_k2hpo4_mg_cm3)


def test_same_options_give_the_same_volume(quiet: DigitalPatient) -> None:
    again = make_digital_patient(QUIET)
    np.testing.assert_array_equal(again.volume.hu_zyx, quiet.volume.hu_zyx)
    np.testing.assert_array_equal(again.bodies.labels_zyx, quiet.bodies.labels_zyx)


def test_noise_has_the_given_strength_and_leaves_the_mean(quiet: DigitalPatient) -> None:
    noisy = make_digital_patient(PatientOptions(noise_sd_hu=20.0, **NARROW))
    difference = noisy.volume.hu_zyx.astype(np.float32) - quiet.volume.hu_zyx
    inside = quiet.bodies.labels_zyx > 0
    assert 12 < difference[inside].std() < 22
    assert abs(difference[inside].mean()) < 0.5


@pytest.mark.parametrize("level", COLUMN_LEVELS)
def test_labels_lie_where_the_truth_says(quiet: DigitalPatient, level: str) -> None:
    truth = quiet.truth.level(level)
    assert quiet.bodies.sample(np.array([truth.center_lps_mm]))[0] == LABEL_OF_LEVEL[level]
    up = np.array(truth.points_lps_mm.middle_superior) - np.array(truth.points_lps_mm.middle_inferior)
    up = up / np.linalg.norm(up)
    for name in ("anterior", "middle", "posterior"):
        superior, inferior = (np.array(getattr(truth.points_lps_mm, f"{name}_{end}")) for end in ("superior", "inferior"))
        # 2.5 mm inside each point is bone of this level, 2.5 mm outside is not.
        assert quiet.bodies.sample(np.stack([superior - 2.5 * up, inferior + 2.5 * up])).tolist() == [LABEL_OF_LEVEL[level]] * 2
        assert LABEL_OF_LEVEL[level] not in quiet.bodies.sample(np.stack([superior + 2.5 * up, inferior - 2.5 * up])).tolist()
        assert np.linalg.norm(superior - inferior) == pytest.approx(getattr(truth.heights_mm, name), abs=1e-6)


def test_the_sacrum_is_labelled_and_arches_touch_their_bodies(quiet: DigitalPatient) -> None:
    assert (quiet.bodies.labels_zyx == SACRUM_LABEL).sum() > 1000
    for level in COLUMN_LEVELS:
        arch = quiet.posterior.labels_zyx == LABEL_OF_LEVEL[level]
        body = quiet.bodies.labels_zyx == LABEL_OF_LEVEL[level]
        assert (ndimage.binary_dilation(arch) & body).any()


def test_a_moderate_wedge_is_in_the_truth_and_in_the_image(quiet: DigitalPatient) -> None:
    fractured: LevelTruth = quiet.truth.level("T12")
    assert fractured.genant_grade == 2
    assert 0.25 <= fractured.height_loss.anterior < 0.40
    assert fractured.height_loss.anterior > fractured.height_loss.middle > fractured.height_loss.posterior
    assert [level.name for level in quiet.truth.levels if level.genant_grade] == ["T12"]
    # An intact T12 is 1.25 times as large as T11.
    size = {name: (quiet.bodies.labels_zyx == LABEL_OF_LEVEL[name]).sum() for name in ("T11", "T12")}
    assert size["T12"] < 1.1 * size["T11"]


def test_lordosis_is_the_angle_between_l1_and_s1() -> None:
    for wanted in (40.0, 60.0):
        plans, s1 = plan_column(PatientOptions(lordosis_deg=wanted, fractures=()))
        l1 = next(plan for plan in plans if plan.name == "L1")
        half_wedge = np.degrees(np.arctan2(l1.posterior_mm - l1.anterior_mm, l1.depth_mm)) / 2

        def lean(axis: np.ndarray) -> float:
            return float(np.degrees(np.arctan2(axis[1], axis[2])))

        assert lean(l1.axes[2]) - half_wedge - lean(s1.axes[2]) == pytest.approx(wanted, abs=1.0)


def test_the_field_cuts_levels_that_are_not_in_the_truth(quiet: DigitalPatient) -> None:
    assert [level.name for level in quiet.truth.levels] == list(COLUMN_LEVELS)
    assert (quiet.bodies.labels_zyx == LABEL_OF_LEVEL["T8"]).any()
    with pytest.raises(KeyError):
        quiet.truth.level("T8")


@pytest.mark.parametrize(("loss", "grade"), [(0.199, 0), (0.20, 1), (0.25, 2), (0.399, 2), (0.40, 3)])
def test_a_loss_equal_to_a_limit_takes_the_higher_grade(loss: float, grade: int) -> None:
    assert grade_of_loss(loss) == grade


def test_the_line_of_the_phantom_goes_both_ways() -> None:
    line = phantom_line_at(120)
    assert line.density_of(line.hu_of(87.0)) == pytest.approx(87.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 2.0},
        {"spacing_xyz_mm": (0.8, 0.9, 1.5)},
        {"density_k2hpo4_mg_cm3": {"L1": 100.0}},
        {"fractures": (VertebralFracture(level="L1", shape="crush", anterior_loss=0.3, middle_loss=0.3, posterior_loss=0.3),) * 2},
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        PatientOptions(**wrong)  # type: ignore[arg-type]


def test_an_unknown_tube_voltage_is_refused() -> None:
    with pytest.raises(SettingsError, match="110 kVp"):
        phantom_line_at(110)
