"""The page of codes says what the program says."""

from pathlib import Path

from trabecula_morphometry.codes import CODE_TABLE, Code

PAGE = Path(__file__).resolve().parents[3] / "docs" / "codes.md"


def test_every_code_has_a_text_and_advice() -> None:
    assert set(CODE_TABLE) == set(Code)
    assert all(entry.text and entry.advice for entry in CODE_TABLE.values())


def test_the_page_lists_every_code_with_its_text() -> None:
    page = PAGE.read_text()
    missing = [code for code, entry in CODE_TABLE.items() if f"| `{code}` | {entry.severity} | {entry.text} | {entry.advice} |" not in page]
    assert missing == []
