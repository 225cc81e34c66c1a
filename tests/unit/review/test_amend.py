"""A reader's changes: what follows from them, and what stays."""

import pytest

from builders.calibrations import ENTRY
from builders.results import Column, column_result
from trabecula_calibration.chosen_levels import LevelReading, mean_of_chosen
from trabecula_calibration.contrast import ContrastReading, Phase
from trabecula_calibration.density import Basis, LevelHu, assess_density
from trabecula_calibration.matching import AcquisitionFacts
from trabecula_calibration.physics import Material
from trabecula_morphometry.codes import Code
from trabecula_morphometry.norms import normal_heights_mm
from trabecula_service.result import Genant, Heights, Level, Result
from trabecula_service.review.amend import amended, changes_in_words, rejected
from trabecula_service.review.edits import Edits, Exclusion, ExclusionReason, MovedPoint
from trabecula_service.review.errors import ReviewError

NAMES = ("T11", "T12", "L1", "L2", "L3", "L4")
COLUMN = Column(names=NAMES)


def healthy() -> Result:
    """Every level has the normal heights of its own."""
    result = column_result(COLUMN, losses={})
    return result.model_copy(update={"levels": [_normal(level) for level in result.levels]})


def _normal(level: Level) -> Level:
    anterior, middle, posterior = (round(float(height), 2) for height in normal_heights_mm(level.name, "F"))
    x, _, z = level.center_lps_mm
    assert level.points_lps_mm is not None
    moved = {}
    for place, height in (("anterior", anterior), ("middle", middle), ("posterior", posterior)):
        offset = getattr(level.points_lps_mm, f"{place}_superior")[1]
        moved[f"{place}_superior"], moved[f"{place}_inferior"] = (x, offset, z + height / 2), (x, offset, z - height / 2)
    heights = Heights(anterior=anterior, middle=middle, posterior=posterior)
    return level.model_copy(
        update={"heights_mm": heights, "points_lps_mm": level.points_lps_mm.model_copy(update=moved), "genant": Genant(grade=0)}
    )


def at(result: Result, name: str) -> Level:
    return next(level for level in result.levels if level.name == name)


def lowered(result: Result, name: str, point: str, by_mm: float) -> MovedPoint:
    x, y, z = getattr(at(result, name).points_lps_mm, point)
    return MovedPoint(level=name, point=point, place_lps_mm=(x, y, z - by_mm))  # type: ignore[arg-type]


def test_without_edits_the_result_is_the_same() -> None:
    result = healthy()
    assert amended(result, Edits()) is result


def test_a_moved_point_changes_its_height_loss_and_grade_and_no_other_height() -> None:
    result = healthy()
    height = at(result, "L1").heights_mm.anterior  # type: ignore[union-attr]
    assert height is not None
    changed = amended(result, Edits(moved=(lowered(result, "L1", "anterior_superior", 0.3 * height),)))
    level = at(changed, "L1")
    assert level.heights_mm is not None
    assert level.height_loss is not None
    assert level.heights_mm.anterior == pytest.approx(0.7 * height, abs=0.01)
    assert level.heights_mm.posterior == at(result, "L1").heights_mm.posterior  # type: ignore[union-attr]
    assert level.height_loss.max == pytest.approx(0.30, abs=0.02)
    assert (level.genant.grade, level.genant.type) == (2, "wedge")
    assert Code.FRACTURED in level.excluded
    assert (changed.fractures.max_grade, changed.fractures.levels, changed.fractures.headline) == (2, ["L1"], True)
    assert [at(changed, name).genant.grade for name in NAMES if name != "L1"] == [0] * 5
    assert "L1" not in changed.density.levels


def test_a_point_put_back_takes_the_grade_back() -> None:
    result = healthy()
    low = amended(result, Edits(moved=(lowered(result, "L2", "anterior_superior", 9.0),)))
    back = amended(low, Edits(moved=(lowered(low, "L2", "anterior_superior", -9.0),)))
    assert (at(low, "L2").genant.grade, at(back, "L2").genant.grade) == (2, 0)
    assert Code.FRACTURED not in at(back, "L2").excluded


def test_names_move_as_a_whole_and_the_mean_density_with_them() -> None:
    result = healthy()
    moved = amended(result, Edits(shift=1))
    assert [level.name for level in moved.levels] == ["T12", "L1", "L2", "L3", "L4", "L5"]
    assert moved.numbering.certain
    assert Code.NUMBERING_UNCERTAIN not in {flag.code for flag in moved.flags}
    values = [at(result, name).density.value_mg_cm3 for name in ("T12", "L1", "L2")]  # type: ignore[union-attr]
    assert moved.density.levels == ["L1", "L2", "L3"]
    assert moved.density.mean_mg_cm3 == pytest.approx(sum(values) / 3, abs=0.05)


@pytest.mark.parametrize("names", [("C1", "C2"), ("T12", "T13", "L1")])
def test_names_that_cannot_be_moved_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ReviewError):
        amended(column_result(Column(names=names), losses={}), Edits(shift=-1))


def test_a_level_left_out_has_neither_grade_nor_part_in_the_mean() -> None:
    result = healthy()
    without = amended(result, Edits(excluded=(Exclusion(level="L2", reason=ExclusionReason.METAL, note="screw"),)))
    assert at(without, "L2").genant.grade is None
    assert without.density.levels == ["L1", "L3"]
    assert any(flag.level == "L2" and "metal, screw" in flag.text for flag in without.flags)


def test_a_deformity_loses_its_grade_and_keeps_its_density() -> None:
    result = healthy()
    low = amended(result, Edits(moved=(lowered(result, "L2", "anterior_superior", 9.0),)))
    explained = amended(low, Edits(excluded=(Exclusion(level="L2", reason=ExclusionReason.DEFORMITY),)))
    assert at(explained, "L2").genant.grade is None
    assert explained.density.levels == ["L1", "L2", "L3"]
    assert explained.fractures.max_grade == 0


def test_with_too_few_levels_there_is_no_mean_and_the_code_says_so() -> None:
    out = tuple(Exclusion(level=name, reason=ExclusionReason.OTHER) for name in ("T12", "L1", "L2", "L3", "L4"))
    without = amended(healthy(), Edits(excluded=out))
    assert without.density.mean_mg_cm3 is None
    assert Code.TOO_FEW_LEVELS in {flag.code for flag in without.flags}


def test_levels_that_are_not_there_and_points_on_each_other_are_refused() -> None:
    result = healthy()
    with pytest.raises(ReviewError, match="no such level"):
        amended(result, Edits(excluded=(Exclusion(level="L5", reason=ExclusionReason.OTHER),)))
    points = at(result, "L1").points_lps_mm
    assert points is not None
    with pytest.raises(ReviewError, match="lie on each other"):
        amended(result, Edits(moved=(MovedPoint(level="L1", point="middle_superior", place_lps_mm=points.middle_inferior),)))


def test_a_rejected_reading_keeps_none_of_its_numbers() -> None:
    gone = rejected(healthy(), "wrong patient position")
    assert (gone.status, gone.levels, gone.density.mean_mg_cm3) == ("not_evaluable", [], None)
    assert "wrong patient position" in gone.flags[0].text


def test_the_changes_are_said_under_the_new_names() -> None:
    result = healthy()
    edits = Edits(shift=1, moved=(lowered(result, "L1", "anterior_superior", 3.0),))
    assert changes_in_words(result, edits) == ["All level names moved by +1: T11 is now T12.", "L2: points moved (anterior superior)."]


@pytest.mark.parametrize("chosen", [("L1", "L2", "L3"), ("L1", "L3"), ("L2", "L3")])
def test_the_mean_of_chosen_levels_is_that_of_a_measurement_of_them(chosen: tuple[str, ...]) -> None:
    def hus(names: tuple[str, ...]) -> list[LevelHu]:
        values = {"T12": 150.0, "L1": 140.0, "L2": 121.0, "L3": 112.0}
        return [LevelHu(name=n, mean_hu=v, sd_hu=35.0, volume_mm3=4200.0, usable=n in names) for n, v in values.items()]

    entry = ENTRY
    facts = AcquisitionFacts(
        kvp=entry.kvp, manufacturer=entry.manufacturer, model=entry.model, device_serial=entry.device_serial, kernel=entry.kernel_family
    )
    phase = ContrastReading(phase=Phase.PORTAL_VENOUS, confidence=1.0)
    on = ENTRY.valid_from
    all_levels = assess_density(hus(("L1", "L2", "L3")), facts, phase, [entry], on, 70.0)
    wanted = assess_density(hus(chosen), facts, phase, [entry], on, 70.0)
    readings = [
        LevelReading(hu=hu, value_mg_cm3=round(d.value_mg_cm3, 1), interval95=(round(d.interval95[0], 1), round(d.interval95[1], 1)))
        for hu in hus(chosen)
        if (d := all_levels.per_level[hu.name])
    ]
    found = mean_of_chosen(
        readings, material=Material(entry.material), basis=Basis.CALIBRATED, phase=Phase.PORTAL_VENOUS, age_years=70.0, barred=False
    )
    assert wanted.mean is not None
    assert found.mean is not None
    assert found.levels_used == wanted.levels_used
    assert found.mean.value_mg_cm3 == pytest.approx(wanted.mean.value_mg_cm3, abs=0.06)
    assert found.mean.interval95 == pytest.approx(wanted.mean.interval95, abs=0.2)
    assert found.category is wanted.category
