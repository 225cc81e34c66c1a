"""Every control in the risk table names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "intended-use.md").read_text(encoding="utf-8")


def risk_rows() -> list[list[str]]:
    table = PAGE.split("## Risks and what is done about them")[1].split("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_every_control_is_held_by_a_test_that_exists() -> None:
    written = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    rows = risk_rows()
    assert len(rows) >= 15
    named = [re.findall(r"`(test_\w+)`", row[4]) for row in rows]
    assert all(named), "a risk without a test"
    assert {name for names in named for name in names} - written == set()


def test_the_page_claims_no_clearance() -> None:
    assert "**not a medical device**" in PAGE
    assert "must not be used for primary diagnosis" in PAGE
