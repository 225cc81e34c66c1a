"""What the sentences say, and what they must never say."""

import re

import pytest

from builders.results import Column, column_result, level
from trabecula_morphometry.codes import Code
from trabecula_service.render import wording
from trabecula_service.result import Density, Numbering, Result, flag

COLUMN = Column(names=("T12", "L1", "L2", "L3"))
FORBIDDEN = re.compile(r"osteoporosis|T-score|no fracture|acute|old fracture|risk of|treatment with", re.IGNORECASE)


def everything_said(result: Result) -> str:
    return " ".join(
        [
            wording.headline(result),
            wording.fracture_statement(result),
            wording.density_statement(result),
            wording.numbering_statement(result),
            *wording.advice(result),
            wording.LIMITS,
        ]
    )


@pytest.mark.parametrize(
    "result",
    [
        column_result(COLUMN),
        column_result(COLUMN, losses={}),
        column_result(COLUMN, losses={"L1": 0.5, "L2": 0.21}),
        column_result(COLUMN, density=Density(), flags=[flag(Code.NO_CALIBRATION)]),
        column_result(COLUMN, levels=[]),
        column_result(COLUMN, status="not_evaluable", levels=[], flags=[flag(Code.NO_SPINE)]),
    ],
)
def test_no_sentence_names_a_diagnosis_a_t_score_or_the_absence_of_fracture(result: Result) -> None:
    assert not FORBIDDEN.search(everything_said(result))


def test_intact_levels_are_named_with_the_limit_that_was_looked_for() -> None:
    result = column_result(COLUMN, losses={})
    assert wording.headline(result) == "No height loss >= 20 % detected in levels T12-L3"
    assert wording.typeset(wording.headline(result)) == "No height loss ≥ 20 % detected in levels T12-L3"


def test_a_moderate_height_loss_outranks_the_density() -> None:
    low = Density(mean_mg_cm3=60.0, interval95=(50.0, 70.0), levels=["L2", "L3"], basis="calibrated", material="HA", category="low")
    assert wording.headline(column_result(COLUMN, density=low)) == "Vertebral height loss: L1 31 %; Low trabecular density, below 80 mg/cm³"


def test_a_density_is_said_with_interval_material_basis_and_levels() -> None:
    text = wording.density_statement(column_result(COLUMN))
    for part in ("108 mg/cm³", "97 to 118", "K2HPO4", "phantom calibration", "L2-L3", "80 to 120 mg/cm³"):
        assert part in text


def test_without_density_the_reason_is_said() -> None:
    text = wording.density_statement(column_result(COLUMN, density=Density(), flags=[flag(Code.NO_CALIBRATION)]))
    assert text == "No mean density is given. No calibration entry fits this scanner, tube voltage and kernel."


def test_a_loss_within_two_points_of_a_limit_is_borderline() -> None:
    assert "borderline" in wording.grade_text(level("L1", (0, 0, 0), loss=0.26))
    assert "borderline" in wording.grade_text(level("L1", (0, 0, 0), loss=0.19))
    assert "borderline" not in wording.grade_text(level("L1", (0, 0, 0), loss=0.31))


def test_uncertain_names_are_said_with_the_other_readings() -> None:
    numbering = Numbering(certain=False, alternatives=[{"shift": -1, "probability": 0.3}], variants=["L6"])
    text = wording.numbering_statement(column_result(COLUMN, numbering=numbering))
    assert "UNCERTAIN" in text
    assert "all names 1 level higher: 30 %" in text
    assert "Variant: a sixth lumbar vertebra (L6)" in text
    assert "uncertain" in wording.caution(column_result(COLUMN, numbering=numbering))
    assert wording.caution(column_result(COLUMN)) == ""


def test_a_reading_that_is_only_not_excluded_gets_no_made_up_percentage() -> None:
    numbering = Numbering(certain=False, alternatives=[{"shift": 1, "probability": 0.001}], variants=["short_last_rib"])
    assert "all names 1 level lower: < 1 %" in wording.numbering_statement(column_result(COLUMN, numbering=numbering))


def test_runs_of_levels_are_joined_over_the_thoracolumbar_step() -> None:
    assert wording.levels_text(["T11", "T12", "L1", "L3", "L4"]) == "T11-L1, L3-L4"
    assert wording.levels_text(["T12", "T13", "L1"]) == "T12-L1"
