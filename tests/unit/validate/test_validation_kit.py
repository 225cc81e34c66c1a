"""Plan, criteria, stored trials and report of the validation kit, on made-up outcomes."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from trabecula_service.validate.figures import criteria, figures_by_spacing, turned_difference_mm, voi_rms_cv
from trabecula_service.validate.plan import PEOPLE, SPACINGS_MM, full_plan, quick_plan
from trabecula_service.validate.report import Setup, as_text, report_pdf
from trabecula_service.validate.store import levels_csv, load_outcome, save_outcome
from trabecula_service.validate.trial import COLUMNS, LevelRow, TrialOutcome, rotation

ROW = LevelRow(
    trial="p-1.5mm", person="p", slice_spacing_mm=1.5, kernel="soft", noise_hu=16.0, tilt_deg=0.0, size=1.0, scoliosis_deg=0.0,
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
    assert (found.not_graded, found.not_found, found.sensitivity.count, found.specificity.count) == (1, 1, 0, 1)


def test_voi_repeats_are_those_of_one_vertebra() -> None:
    assert voi_rms_cv([ROW, replace(ROW, trial="p-sharp", kernel="sharp", hu=143.0)]) == pytest.approx(0.00995, abs=1e-4)
    assert voi_rms_cv([ROW, replace(ROW, person="q", hu=200.0)]) is None
    assert voi_rms_cv([ROW, replace(ROW, slice_spacing_mm=5.0, hu=200.0)]) is None


def test_turned_scans_are_compared_with_the_straight_one() -> None:
    turned = replace(ROW, trial="p-nod", tilt_deg=15.0, middle_mm=25.5)
    assert sorted(turned_difference_mm([ROW, turned])) == pytest.approx([0.0, 0.0, 0.4])
    assert turned_difference_mm([turned]) == []


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
