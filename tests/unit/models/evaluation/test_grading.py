"""Agreement of grades: intervals against published ones, counts by hand, what is left out is said."""

import zipfile
from pathlib import Path

import pytest

from trabecula_models.evaluation.case_score import PredictedGrade, Prediction
from trabecula_models.evaluation.grade_report import agreement_csv, confusion_csv, grade_table, pair_grades, pairs_csv
from trabecula_models.evaluation.grading import (
    GradePair,
    Share,
    agreement,
    confusion,
    per_patient,
    same_type,
    silence_as_no_finding,
    weighted_kappa,
)
from trabecula_models.evaluation.verse_grades import ReaderGrade, SeriesRow, read_verse_grades
from trabecula_morphometry.errors import InputError

WIDE = (
    "verse_ID,subject_ID,age_ct,BMD,T12_fx-g,L1_fx-g,L2_fx-g,L3_fx-g,T12_fx-s,L1_fx-s,L2_fx-s,L3_fx-s\n"
    "12,7,77.4,61.3,0.0,3,x,,0.0,1,x,\n"
    "13,7,77.4,61.3,1.0,0,0,2,2.0,0,0,3\n"
)


def pair(reference: int | None, predicted: int | None, patient: str = "p", **more: str) -> GradePair:
    return GradePair(case="c", patient=patient, level="L1", reference=reference, predicted=predicted, **more)


# Newcombe, Stat Med 1998;17:857, Table I, method 3 (Wilson without continuity correction).
@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
)
def test_wilson_intervals_are_the_published_ones(hits: int, of: int, low: float, high: float) -> None:
    assert Share(hits=hits, of=of).interval95 == pytest.approx((low, high), abs=5e-5)


def test_a_share_of_nothing_has_no_value() -> None:
    assert Share(hits=0, of=0).value is None
    assert Share(hits=0, of=0).interval95 is None
    assert Share(hits=4, of=4).interval95 == pytest.approx((0.5101, 1.0), abs=5e-5)


def test_sensitivity_and_specificity_by_hand() -> None:
    pairs = [pair(0, 0), pair(0, 2), pair(1, 0), pair(2, 2), pair(2, 1), pair(3, 3), pair(None, 3), pair(2, None)]
    at_2 = agreement(pairs, 2)
    assert (at_2.sensitivity.hits, at_2.sensitivity.of) == (2, 3)
    assert (at_2.specificity.hits, at_2.specificity.of) == (2, 3)
    assert (at_2.false_negatives, at_2.false_positives) == (1, 1)
    at_1 = agreement(pairs, 1)
    assert (at_1.sensitivity.hits, at_1.sensitivity.of, at_1.specificity.hits, at_1.specificity.of) == (3, 4, 1, 2)


def test_silence_counts_as_missed_when_asked() -> None:
    pairs = [pair(2, None), pair(2, 2), pair(None, None), pair(0, None)]
    assert agreement(pairs, 2).sensitivity == Share(hits=1, of=1)
    assert agreement(silence_as_no_finding(pairs), 2).sensitivity == Share(hits=1, of=2)
    assert agreement(silence_as_no_finding(pairs), 2).specificity == Share(hits=1, of=1)


def test_a_patient_is_the_worst_vertebra_of_all_series() -> None:
    pairs = [pair(0, 0, "a"), pair(3, 1, "a"), pair(0, 2, "a"), pair(1, 0, "b"), pair(2, None, "b"), pair(None, 3, "c")]
    patients = {unit.patient: (unit.reference, unit.predicted) for unit in per_patient(pairs)}
    assert patients == {"a": (3, 2), "b": (1, 0)}


def test_confusion_has_a_column_for_not_graded() -> None:
    assert confusion([pair(0, 0), pair(0, None), pair(2, 1), pair(2, 1), pair(3, 3), pair(None, 0)]) == (
        (1, 0, 0, 0, 1),
        (0, 0, 0, 0, 0),
        (0, 2, 0, 0, 0),
        (0, 0, 0, 1, 0),
    )


def test_linear_kappa_by_hand() -> None:
    # Disagreement 0 + 1 + 0 + 2 = 3; by chance (2*3*1 + 1*1*1 + 1*1*3 + 1*3*2) / 4 = 4.
    assert weighted_kappa([pair(0, 0), pair(0, 1), pair(1, 1), pair(3, 1)]) == pytest.approx(0.25)
    assert weighted_kappa([pair(1, 1), pair(3, 3)]) == pytest.approx(1.0)
    assert weighted_kappa([pair(0, 0), pair(0, 0)]) is None
    assert weighted_kappa([]) is None


def test_types_are_compared_where_both_see_a_fracture() -> None:
    pairs = [
        pair(2, 3, reference_type="wedge", predicted_type="wedge"),
        pair(2, 2, reference_type="wedge", predicted_type="crush"),
        pair(1, 2, reference_type="wedge", predicted_type="wedge"),
    ]
    assert same_type(pairs, 2) == Share(hits=1, of=2)
    assert same_type(pairs, 1) == Share(hits=2, of=3)


def test_the_wide_table_of_appendix_e1(tmp_path: Path) -> None:
    (tmp_path / "e1.csv").write_text(WIDE)
    rows = read_verse_grades(tmp_path / "e1.csv")
    assert rows[12] == SeriesRow(
        series=12,
        patient="7",
        grades={"T12": ReaderGrade(grade=0, type=None), "L1": ReaderGrade(grade=3, type="wedge"), "L2": ReaderGrade(grade=None, type=None)},
        bmd_mg_cm3=61.3,
        age_years=77.4,
    )
    assert rows[13].grades["T12"] == ReaderGrade(grade=1, type="biconcave")
    assert rows[13].grades["L3"] == ReaderGrade(grade=2, type="crush")


def test_the_long_table(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text(
        "verse_id,subject_id,age,bmd_mg_cm3,level,fx_grade,fx_shape\n12,7,77.4,61.3,L1,3,1\n12,7,77.4,61.3,T12,0.0,0\n"
    )
    (row,) = read_verse_grades(tmp_path / "long.csv").values()
    assert row.grades == {"L1": ReaderGrade(grade=3, type="wedge"), "T12": ReaderGrade(grade=0, type=None)}
    assert (row.patient, row.bmd_mg_cm3) == ("7", 61.3)


def test_an_xlsx_with_a_key_sheet_first_and_a_title_line_reads_the_same(tmp_path: Path) -> None:
    header, *lines = [line.split(",") for line in WIDE.splitlines()]
    strings = ["Key", *header, "x"]

    def cell(column: int, row: int, text: str) -> str:
        where = f"{chr(ord('A') + column)}{row}"
        if text in strings:
            return f'<c r="{where}" t="s"><v>{strings.index(text)}</v></c>'
        return f'<c r="{where}"><v>{text}</v></c>' if text else ""

    body = "".join(
        f'<row r="{row}">' + "".join(cell(column, row, text) for column, text in enumerate(line)) + "</row>"
        for row, line in enumerate([["Key"], header, *lines], start=1)
    )
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    with zipfile.ZipFile(tmp_path / "e1.xlsx", "w") as archive:
        archive.writestr("xl/sharedStrings.xml", f"<sst {space}>" + "".join(f"<si><t>{text}</t></si>" for text in strings) + "</sst>")
        archive.writestr("xl/worksheets/sheet1.xml", f'<worksheet {space}><row><c t="inlineStr"><is><t>Key</t></is></c></row></worksheet>')
        archive.writestr("xl/worksheets/sheet2.xml", f"<worksheet {space}><sheetData>{body}</sheetData></worksheet>")
    (tmp_path / "e1.csv").write_text(WIDE)
    assert read_verse_grades(tmp_path / "e1.xlsx") == read_verse_grades(tmp_path / "e1.csv")


def test_a_semicolon_table_with_decimal_commas_reads_the_same(tmp_path: Path) -> None:
    (tmp_path / "e1.csv").write_text(WIDE)
    (tmp_path / "german.csv").write_text("\ufeff" + WIDE.replace(",", ";").replace(".", ","), encoding="utf-8")
    assert read_verse_grades(tmp_path / "german.csv") == read_verse_grades(tmp_path / "e1.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no line with the expected column names"),
        ("verse_ID,L1_fx-g\n", "no rows"),
        ("verse_ID,L1_fx-g\n12,4\n", "grade or shape that is none"),
        ("verse_ID,L1_fx-g\n12,2.5\n", "no whole number"),
        ("verse_ID,L1_fx-g\nten,2\n", "no whole number"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "e1.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_verse_grades(tmp_path / "e1.csv")


def test_what_is_no_spreadsheet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e1.xlsx").write_bytes(b"no zip")
    with pytest.raises(InputError, match="cannot be read"):
        read_verse_grades(tmp_path / "e1.xlsx")


def test_every_vertebra_that_is_left_out_says_why() -> None:
    row = SeriesRow(
        series=12,
        patient="7",
        grades={
            "T11": ReaderGrade(grade=0, type=None),
            "T12": ReaderGrade(grade=0, type=None),
            "L1": ReaderGrade(grade=3, type="wedge"),
            "L2": ReaderGrade(grade=None, type=None),
            "L3": ReaderGrade(grade=2, type="crush"),
        },
    )
    grades = {
        "T12": PredictedGrade(grade=0),
        "L1": PredictedGrade(grade=2, type="wedge"),
        "L2": PredictedGrade(grade=1, type="wedge"),
        "L3": PredictedGrade(grade=None, codes=("METAL",)),
        "L4": PredictedGrade(grade=3, type="crush"),
    }
    pairs = pair_grades("sub-verse012", row, Prediction(masks=None, grades=grades))
    assert {p.level: p.why_left_out for p in pairs} == {
        "T11": "level not found",
        "T12": "",
        "L1": "",
        "L2": "reader: foreign material",
        "L3": "not graded: METAL",
    }
    text = grade_table(pairs)
    assert "Left out: 3 of 5 vertebrae" in text
    assert "1  not graded: METAL" in text
    assert "100.0 (20.7-100.0), 1/1" in text
    assert "sub-verse012,7,L3,2,,crush,,not graded: METAL" in pairs_csv(pairs)
    assert 'per vertebra, both graded",2,sensitivity,1.0000,0.2065,1.0000,1,1' in agreement_csv(pairs)
    assert confusion_csv(pairs).splitlines()[4] == "3,0,0,1,0,0"
