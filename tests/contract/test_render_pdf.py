"""The PDF before poppler: PDF/A, embedded fonts, the right words, names in any script."""

import re
import subprocess
from pathlib import Path

import pytest

from builders.peers import need_program
from builders.results import Column, column_input, not_evaluable
from trabecula_morphometry.codes import Code
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.pdf_report import report_pdf
from trabecula_service.result import Density, Numbering, flag

SMALL = Column(names=("T12", "L1", "L2"), spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))
pytestmark = pytest.mark.peer


def written(made: DocumentInput, folder: Path) -> Path:
    path = folder / "report.pdf"
    path.write_bytes(report_pdf(made))
    return path


def text_of(path: Path) -> str:
    done = subprocess.run([need_program("pdftotext"), "-layout", str(path), "-"], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split())


def test_it_is_pdf_a_with_every_font_embedded(tmp_path: Path) -> None:
    path = written(column_input(SMALL), tmp_path)
    meta = subprocess.run([need_program("pdfinfo"), "-meta", str(path)], capture_output=True, text=True, check=True).stdout
    assert "<pdfaid:part>2</pdfaid:part>" in meta
    assert b"/OutputIntent" in path.read_bytes()
    fonts = subprocess.run([need_program("pdffonts"), str(path)], capture_output=True, text=True, check=True).stdout.splitlines()[2:]
    assert fonts
    assert all(line.split()[-5] == "yes" for line in fonts)


def test_it_says_the_numbers_the_reasons_and_the_versions(tmp_path: Path) -> None:
    made = column_input(SMALL)
    text = text_of(written(made, tmp_path))
    for part in (
        "trabecula AI - not for primary diagnosis",
        "AI-generated, unverified",
        "Vertebral height loss: L1 31 %",
        "108 mg/cm³",
        "95 % interval 97 to 118",
        "K2HPO4",
        "scan9-120-b30f-2026-01",
        "Confirm by DXA/QCT and clinical assessment.",
        "Müller Zoë",
        "1950-06-07",
        "A-17",
        made.result.software.weights_sha256,
        "FRACTURED",
    ):
        assert part in text


def test_a_long_column_with_many_findings_still_answers_on_the_first_page(tmp_path: Path) -> None:
    column = Column(names=[*(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6))], spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))
    numbering = Numbering(certain=False, alternatives=[{"shift": -1, "probability": 0.31}], variants=["L6"])
    path = written(column_input(column, losses={"T7": 0.26, "T8": 0.44, "L1": 0.21}, numbering=numbering), tmp_path)
    command = [need_program("pdftotext"), "-l", "1", "-layout", str(path), "-"]
    first = " ".join(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert "page 1 of 2" in first
    assert "The level names are uncertain" in first
    assert "not directly comparable." in first


def test_without_category_no_band_is_drawn(tmp_path: Path) -> None:
    density = Density(mean_mg_cm3=75.0, interval95=(60.0, 90.0), levels=["L2"], basis="estimate", material="HA")
    text = text_of(written(column_input(SMALL, density=density, flags=[flag(Code.AGE_UNKNOWN)]), tmp_path))
    assert "below 80" not in text
    assert "No category is given" in text
    assert "estimate without calibration of this scanner" in text


def test_the_headline_and_the_findings_round_a_half_alike(tmp_path: Path) -> None:
    density = Density(mean_mg_cm3=128.5, interval95=(86.5, 170.5), levels=["L1", "L2"], basis="estimate", material="HA")
    text = text_of(written(column_input(SMALL, density=density), tmp_path))
    assert len(re.findall(r"\b128 mg/cm", text)) >= 2
    assert "129" not in text


def test_a_result_that_is_not_evaluable_says_why(tmp_path: Path) -> None:
    text = text_of(written(not_evaluable(column_input(SMALL), Code.GEOMETRY_IMPLAUSIBLE), tmp_path))
    assert "Not evaluable." in text
    assert "impossible size" in text


def test_a_nifti_input_has_no_patient_on_it(tmp_path: Path) -> None:
    assert "Patient" not in text_of(written(column_input(SMALL, dicom=False), tmp_path))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("O'Brien^Seán", "O'Brien Seán"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田 太郎"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "홍 길동"),
        ("Иванов^Пётр", "Иванов Пётр"),
        ("Παπαδόπουλος^Γιώργος", "Παπαδόπουλος Γιώργος"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ('#panic("x")^{{ 7*7 }} $x$ *b* @a', '#panic("x") {{ 7*7 }} $x$ *b* @a'),
        ("ไทย^देवनागरी", ""),
        ("bad\x00\x1b\x07sign", "sign"),
    ],
)
def test_names_are_shown_as_they_are_and_do_nothing(name: str, shown: str, tmp_path: Path) -> None:
    text = text_of(written(column_input(SMALL, headers={"PatientName": name}), tmp_path))
    assert shown.replace("'", "’") in text.replace("'", "’")
    assert "Patient ID P-0042" in text
