"""The means are those of CTSpine1K's Table 2, and the printed table says them."""

import csv
import io

import pytest

from builders.label_columns import BlockColumn
from trabecula_models.evaluation.case_score import CaseScore, LevelScore, LevelStatus, Prediction, Reference, score_case
from trabecula_models.evaluation.overlap import Overlap
from trabecula_models.evaluation.result_tables import cases_csv, levels_csv, summary_csv
from trabecula_models.evaluation.summary import summarize
from trabecula_models.evaluation.text_tables import identification_table, segmentation_table
from trabecula_morphometry.levels import LEVELS_IN_ORDER

# Deng 2021, Table 2: DSC and HD95 in mm, C1 to L6, then the printed means of vertebrae.
TABLE_2 = {
    "Test_public": (
        ".951/1.55 .974/1.15 .934/8.73 .946/1.90 .573/2.43 .802/4.51 .930/2.18 .952/1.60 .960/1.43 .955/1.64 .899/3.83 .681/6.67 "
        ".814/5.20 .881/4.43 .856/6.96 .949/1.76 .952/1.59 .959/1.49 .931/1.49 .965/1.27 .965/1.50 .963/1.61 .965/2.32 .969/1.49 0/66.21",
        (0.869, 5.40),
    ),
    "Test_private": (
        ".957/1.34 .975/1.22 .945/7.55 .608/3.65 .726/3.13 .824/2.38 .899/2.16 .927/2.36 .932/2.59 .798/7.47 .831/3.64 .830/4.90 "
        ".762/5.99 .764/5.98 .772/6.23 .925/3.18 .951/1.85 .961/1.81 .965/1.73 .883/1.76 .913/1.91 .952/2.05 .945/2.61 .943/2.45 0/80.33",
        (0.840, 6.41),
    ),
    "Test_VerSe": (
        ".446/1.69 .923/1.20 .605/1.32 .613/0.95 .231/0.95 .121/1.07 .228/4.04 .623/2.53 .883/2.36 .817/4.14 .723/6.44 .614/9.05 "
        ".483/9.21 .400/8.67 .395/8.74 .597/6.33 .813/3.83 .887/3.36 .889/1.00 .925/2.34 .902/4.83 .830/7.17 .795/8.94 .723/10.31 0/45.16",
        (0.619, 6.23),
    ),
}


def overlap(dice: float, hd95_mm: float | None) -> Overlap:
    return Overlap(reference_mm3=1000.0, predicted_mm3=1000.0, dice=dice, hd95_mm=hd95_mm)


def case(name: str, levels: dict[str, tuple[float, float | None]]) -> CaseScore:
    rows = tuple(
        LevelScore(level=level, status=LevelStatus.BOTH, overlap=overlap(*values), identification=None) for level, values in levels.items()
    )
    spine = overlap(0.985, 1.0)
    return CaseScore(name=name, group="", levels=rows, spine=spine, spine_annotated=spine, centers_from="masks")


@pytest.mark.parametrize("name", TABLE_2)
def test_the_means_of_the_published_table_come_out_of_its_own_rows(name: str) -> None:
    cells, (dice, hd95_mm) = TABLE_2[name]
    levels = [level for level in LEVELS_IN_ORDER if level != "T13"]
    values = [tuple(float(number) for number in cell.split("/")) for cell in cells.split()]
    one = summarize([case("all", dict(zip(levels, values, strict=True)))], name)
    assert one.mean_of_vertebrae_dice == pytest.approx(dice, abs=6e-4)
    assert one.mean_of_vertebrae_hd95_mm == pytest.approx(hd95_mm, abs=6e-3)
    assert f"{dice:.3f}/{hd95_mm:.2f}" in segmentation_table([one])


def test_a_rare_level_weighs_as_much_as_a_common_one() -> None:
    cases = [case("a", {"L1": (0.9, 1.0)}), case("b", {"L1": (0.9, 1.0)}), case("c", {"L1": (0.9, 1.0), "L6": (0.0, None)})]
    one = summarize(cases, "")
    assert one.mean_of_vertebrae_dice == pytest.approx(0.45)
    assert one.dice_of_cases == pytest.approx((0.9 + 0.9 + 0.45) / 3)
    assert one.mean_of_vertebrae_hd95_mm == pytest.approx(1.0)


def test_a_missed_level_is_dice_0_and_has_no_hd95() -> None:
    column = BlockColumn()
    prediction = Prediction(masks=BlockColumn(levels=("T12", "L1", "L2")).labels())
    scored = score_case("a", Reference(masks=column.labels()), prediction)
    one = summarize([scored], "")
    lowest = next(level for level in one.levels if level.level == "L3")
    assert (lowest.dice, lowest.hd95_mm, lowest.missed, lowest.cases) == (0.0, None, 1, 1)
    assert one.mean_of_vertebrae_dice == pytest.approx(0.75)
    assert "0.000/- (1)" in segmentation_table([one])
    assert "Missed levels                                      1" in identification_table([one])


def test_sets_stand_side_by_side_and_levels_that_no_reference_holds_are_dashes() -> None:
    sets = [summarize([case("a", {"L1": (0.9, 1.0)})], "test_public"), summarize([case("b", {"T13": (0.8, 2.0)})], "test_private")]
    lines = segmentation_table(sets).splitlines()
    assert lines[0].split() == ["Level", "test_public", "test_private"] * 2
    lumbar = next(line for line in lines if " L1 " in line)
    assert lumbar.split()[-4:] == ["L1", "0.900/1.00", "(1)", "-"]
    assert any("T13" in line and "0.800/2.00 (1)" in line for line in lines)


def test_the_csv_files_hold_one_row_per_case_and_level_and_empty_cells_for_what_has_no_value() -> None:
    scored = score_case(
        "sub-a",
        Reference(masks=BlockColumn().labels()),
        Prediction(masks=BlockColumn(levels=("T12", "L1", "L2")).labels()),
        group="validation",
    )
    rows = list(csv.DictReader(io.StringIO(levels_csv([scored]))))
    assert [(row["case"], row["set"], row["level"], row["status"]) for row in rows][-1] == ("sub-a", "validation", "L3", "missed")
    assert (rows[-1]["dice"], rows[-1]["hd95_mm"], rows[-1]["centre_mm"], rows[-1]["identified"]) == ("0.0000", "", "", "no")
    (of_case,) = csv.DictReader(io.StringIO(cases_csv([scored])))
    assert (of_case["vertebrae"], of_case["identified"], of_case["missed"], of_case["dice_mean"]) == ("4", "3", "1", "0.7500")
    summary = {row["measure"]: row["value"] for row in csv.DictReader(io.StringIO(summary_csv([summarize([scored], "validation")])))}
    assert summary["id_rate"] == "0.7500"
    assert summary["dice L3"] == "0.0000"
