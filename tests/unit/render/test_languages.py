"""The documents in another language: complete, with the same numbers, and as careful in what they say."""

import re
import string
import tomllib
from importlib.resources import files

import pytest

from builders.results import Column, column_input, column_result, not_evaluable
from trabecula_morphometry.codes import CODE_TABLE, Code
from trabecula_service.render import wording
from trabecula_service.render.document_input import RenderError
from trabecula_service.render.languages import languages
from trabecula_service.render.overview import overview_picture
from trabecula_service.render.pdf_report import report_data
from trabecula_service.render.phrases import code_text, flag_text, phrase
from trabecula_service.render.uids import derived_uid
from trabecula_service.result import Density, flag

COLUMN = Column(names=("T12", "L1", "L2"), spacing_mm=(2.0, 2.0, 4.0), size_xy=(64, 80))
FORBIDDEN = re.compile(r"osteoporose|osteoporosis|t-score|keine fraktur|no fracture|akut|frakturrisiko|therapie", re.IGNORECASE)
OTHERS = [name for name in languages() if name != "en"]


def content(language: str) -> dict[str, dict[str, object]]:
    return tomllib.loads((files("trabecula_service.render.languages") / f"{language}.toml").read_text(encoding="utf-8"))


def blanks(text: object) -> set[str]:
    parts = text if isinstance(text, list) else [text]
    return {name for part in parts for _, name, _, _ in string.Formatter().parse(str(part)) if name}


@pytest.mark.parametrize("language", OTHERS)
def test_every_word_is_there_with_the_same_blanks(language: str) -> None:
    english, other = content("en"), content(language)
    for section, words in english.items():
        assert set(other[section]) == set(words), section
        assert {key: blanks(text) for key, text in other[section].items()} == {key: blanks(text) for key, text in words.items()}
    assert len(other["label"]["columns"]) == len(english["label"]["columns"])  # type: ignore[arg-type]


@pytest.mark.parametrize("language", OTHERS)
def test_every_code_has_its_text_and_advice(language: str) -> None:
    assert set(content(language)["codes"]) == {str(code) for code in CODE_TABLE}


def test_what_a_case_adds_to_a_code_stands_behind_the_translated_text() -> None:
    text = flag_text("de", flag(Code.SLICES_TOO_THICK, "4.2 mm apart."))
    assert text == f"{code_text('de', Code.SLICES_TOO_THICK)} 4.2 mm apart."


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize(
    "result",
    [
        column_result(COLUMN),
        column_result(COLUMN, losses={}),
        column_result(COLUMN, density=Density(), flags=[flag(Code.NO_CALIBRATION)]),
        not_evaluable(column_input(COLUMN)).result,
    ],
)
def test_no_language_names_a_diagnosis_or_the_absence_of_fracture(language: str, result) -> None:
    said = [wording.headline(result, language), *wording.statements(result, language), *wording.advice(result, language)]
    assert not FORBIDDEN.search(" ".join([*said, phrase(language, "limits")]))


def test_a_german_report_says_the_same_numbers_in_german() -> None:
    data = report_data(column_input(COLUMN, language="de"))
    assert data["headline"] == "Höhenminderung von Wirbelkörpern: L1 31 %"
    assert "Mittlere trabekuläre Dichte 108 mg/cm³ (95-%-Intervall 97 bis 118; K2HPO4-Äquivalent" in " ".join(data["statements"])  # type: ignore[arg-type]
    assert ["Geboren", "1950-06-07"] in data["patient"]  # type: ignore[operator]
    english = report_data(column_input(COLUMN))
    german_cells = [[cell.replace(" bis ", " to ") for cell in row[:8]] for row in data["table"]]  # type: ignore[attr-defined]
    assert german_cells == [row[:8] for row in english["table"]]  # type: ignore[attr-defined]


def test_another_language_is_another_content_and_so_another_uid() -> None:
    assert derived_uid(column_input(COLUMN), "report") != derived_uid(column_input(COLUMN, language="de"), "report")


def test_a_language_that_we_do_not_have_is_refused_by_name() -> None:
    with pytest.raises(RenderError, match="there is no such language"):
        phrase("tlh", "mark")


def test_long_grades_stay_inside_the_overview() -> None:
    import numpy as np

    picture = np.asarray(overview_picture(column_input(COLUMN, losses={"L1": 0.41, "L2": 0.26}, language="de")).convert("L"))
    assert picture[92:1036, -14:].max() < 40, "the right margin holds no text"
