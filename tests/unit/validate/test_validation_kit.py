"""Plan, criteria, stored trials and report of the validation kit, on made-up outcomes."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from trabecula_morphometry.volume import Grid, Volume
from trabecula_service.validate.figures import criteria, figures_by_spacing, rescans, said, turned_differences_mm, voi_rms_cv
from trabecula_service.validate.plan import PEOPLE, SPACINGS_MM, full_plan, quick_plan
from trabecula_service.validate.report import Setup, as_text, report_pdf
from trabecula_service.validate.store import levels_csv, load_outcome, save_outcome
from trabecula_service.validate.trial import COLUMNS, LevelRow, TrialOutcome, rotation, turned

ROW = LevelRow(
    trial="p-1.5mm", person="p", against="", slice_spacing_mm=1.5, kernel="soft", noise_hu=16.0, tilt_deg=0.0, size=1.0, scoliosis_deg=0.0,
    level="L2", called="L2", center_error_mm=0.4, true_anterior_mm=26.0, true_middle_mm=25.0, true_posterior_mm=27.0, anterior_mm=26.1,
    middle_mm=25.1, posterior_mm=27.1, sd_mm=0.4, true_loss=0.0, loss=0.02, true_grade=0, grade=0, true_type=None, type=None, true_hu=140.0,
    hu=141.0, true_density_mg_cm3=100.0, density_mg_cm3=101.0, density_low_mg_cm3=95.0, density_high_mg_cm3=107.0, excluded="",
)  # fmt: skip
FRACTURE = replace(ROW, level="L1", called="L1", true_loss=0.31, loss=0.30, true_grade=2, grade=2, true_type="wedge", type="wedge")


def verdicts(rows: list[LevelRow]) -> dict[str, bool | None]:
    return {criterion.what: criterion.met for criterion in criteria(rows)}


def test_the_plans_cover_what_they_promise() -> None:
    full = full_plan()
    assert len({trial.name for trial in full}) == len(full) == 48
    assert {trial.options.spacing_xyz_mm[2] for trial in full} >= set(SPACINGS_MM)
    assert {trial.options.kernel for trial in full} == {"smooth", "soft", "sharp"}
    assert {trial.options.sex for trial in full} == {"F", "M"}
    assert any(trial.options.scoliosis_deg for trial in full)
    assert sum(any(trial.tilt_deg) for trial in full) == 6
    assert len(quick_plan()) == 4
    assert {trial.person for trial in full} == set(PEOPLE)


def test_a_good_outcome_meets_the_criteria_it_was_tested_for() -> None:
    assert set(verdicts([ROW, FRACTURE] * 5).values()) == {True, None}


def test_a_missed_fracture_fails_sensitivity() -> None:
    assert verdicts([ROW, replace(FRACTURE, grade=0, type=None)])["grade >= 2, slices <= 1.5 mm: sensitivity"] is False


def test_a_false_fracture_fails_specificity() -> None:
    assert verdicts([replace(ROW, grade=2, type="wedge")])["grade >= 2, slices <= 1.5 mm: specificity"] is False


def test_a_level_without_a_grade_counts_apart() -> None:
    found = figures_by_spacing([ROW, replace(FRACTURE, grade=None), replace(ROW, called=None, grade=None, anterior_mm=None)])[0]
    assert (found.not_graded, found.not_found, found.specificity.count) == (1, 1, 1)


def test_a_fracture_without_a_grade_is_a_missed_one() -> None:
    found = figures_by_spacing([FRACTURE, replace(FRACTURE, grade=None, type=None, excluded="SLICES_TOO_THICK")])[0]
    assert (found.sensitivity.hits, found.sensitivity.count) == (1, 2)


def test_a_level_is_graded_or_says_why_not() -> None:
    silent = replace(ROW, grade=None)
    assert said([ROW, replace(silent, excluded="SLICES_TOO_THICK"), replace(silent, called=None)]).share == 1.0
    assert said([ROW, silent]).share == 0.5
    assert verdicts([replace(silent, slice_spacing_mm=5.0)])["slices of 5 mm: graded, or said why not"] is False


def test_voi_repeats_are_those_of_one_vertebra() -> None:
    assert voi_rms_cv([ROW, replace(ROW, trial="p-sharp", kernel="sharp", hu=143.0)]) == pytest.approx(0.00995, abs=1e-4)
    assert voi_rms_cv([ROW, replace(ROW, person="q", hu=200.0)]) is None
    assert voi_rms_cv([ROW, replace(ROW, slice_spacing_mm=5.0, hu=200.0)]) is None


THIN = replace(ROW, trial="p-1mm", slice_spacing_mm=1.0)


def test_turned_scans_are_compared_with_the_straight_one() -> None:
    turned = replace(THIN, trial="p-nod", tilt_deg=20.0, middle_mm=25.5, against="p-1mm")
    assert sorted(turned_differences_mm([THIN, turned])) == pytest.approx([0.0, 0.0, 0.4])
    assert turned_differences_mm([turned]) == []
    assert verdicts([THIN, turned])["heights, patient turned by 20 degrees: 95 % of differences"] is True
    assert verdicts([THIN, replace(turned, middle_mm=26.0)])["heights, patient turned by 20 degrees: 95 % of differences"] is False


def test_a_scan_made_otherwise_is_held_against_the_first_one_that_was_made() -> None:
    thick = replace(ROW, trial="p-2.5mm", slice_spacing_mm=2.5, hu=143.82, against="p-1mm p-1.5mm")
    (found,) = rescans([ROW, thick])
    assert (found.what, found.against, found.levels) == ("2.5mm", "1.5mm", 1)
    assert found.hu_rms_cv == pytest.approx(0.01 * np.sqrt(2), rel=0.02)
    (found,) = rescans([ROW, THIN, thick, replace(thick, level="L3")])
    assert (found.against, found.levels, found.heights_95_mm) == ("1mm", 1, 0.0)
    assert rescans([thick]) == []


def test_hu_of_a_fracture_are_no_repeat() -> None:
    sharp = replace(FRACTURE, trial="p-sharp", hu=180.0, against="p-1.5mm")
    (found,) = rescans([FRACTURE, sharp])
    assert (found.hu_percent, found.hu_rms_cv, found.levels) == (None, None, 1)


def test_a_turned_patient_keeps_its_shape_and_what_was_not_scanned_is_padding() -> None:
    hu = np.full((21, 41, 41), 40, np.int16)
    hu[10, 20, 32] = 1000
    matrix = np.diag([1.0, 1.0, 2.0, 1.0])
    matrix[:3, 3] = (-20.0, -20.0, -20.0)
    volume = Volume(hu_zyx=hu, grid=Grid(shape_zyx=hu.shape, voxel_to_lps=matrix))
    found = turned(volume, rotation((0.0, 0.0, 90.0)))
    # 12 mm to the left of the origin becomes 12 mm behind it.
    assert np.unravel_index(int(found.hu_zyx.argmax()), hu.shape) == (10, 32, 20)
    assert found.hu_zyx[10, 20, 20] == 40
    assert turned(volume, rotation((0.0, 30.0, 0.0))).hu_zyx.min() == -1024


def test_a_finished_trial_is_not_run_again_unless_something_changed(tmp_path: Path) -> None:
    trial, outcome = quick_plan()[0], TrialOutcome(rows=(ROW, FRACTURE), seconds=3.0)
    assert load_outcome(tmp_path, trial, "w1") is None
    path = save_outcome(tmp_path, trial, outcome, "w1")
    assert load_outcome(tmp_path, trial, "w1") == outcome
    assert load_outcome(tmp_path, trial, "w2") is None
    assert load_outcome(tmp_path, replace(trial, tilt_deg=(1.0, 0.0, 0.0)), "w1") is None
    path.write_text(path.read_text()[:200])
    assert load_outcome(tmp_path, trial, "w1") is None
    path.write_text(json.dumps([]))
    assert load_outcome(tmp_path, trial, "w1") is None


def test_the_table_holds_every_level_and_empty_cells_where_nothing_was_measured() -> None:
    lines = list(csv.DictReader(io.StringIO(levels_csv([ROW, replace(FRACTURE, hu=None)]))))
    assert tuple(lines[0]) == COLUMNS
    assert [line["hu"] for line in lines] == ["141.0", ""]


def test_the_report_says_what_was_met(tmp_path: Path) -> None:
    rows = [replace(row, slice_spacing_mm=spacing) for spacing in (1.5, 3.0) for row in (ROW, FRACTURE)]
    rows += [replace(row, trial="p-sharp", against="p-1.5mm", hu=143.0) for row in (ROW, FRACTURE)]
    assert "sharp kernel" in as_text(rows)
    assert "not tested" in as_text(rows)
    assert "bias" in as_text(rows)
    setup = Setup(
        version="1",
        backend="builtin",
        weights_sha256="ab",
        machine="m",
        plan="quick",
        trials=1,
        seconds=1.0,
        made=datetime(2026, 1, 1, tzinfo=UTC),
    )
    first = report_pdf(rows, setup)
    assert first.startswith(b"%PDF")
    assert first == report_pdf(rows, setup)
    assert report_pdf(
        [replace(ROW, called=None, anterior_mm=None, middle_mm=None, posterior_mm=None, loss=None, density_mg_cm3=None)], setup
    )


def test_turns_keep_lengths_and_directions() -> None:
    assert rotation((0.0, 0.0, 90.0)) @ np.array([1.0, 0.0, 0.0]) == pytest.approx([0.0, 1.0, 0.0])
    assert np.linalg.det(rotation((10.0, -20.0, 30.0))) == pytest.approx(1.0)
