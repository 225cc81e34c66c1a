"""The pages hold together: links lead somewhere, and every command is described on one of them."""

import re
from pathlib import Path

import pytest
import typer.main

from trabecula_service.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
_LINK = re.compile(r"(?:\]\(|src=\")([^)\"\s]+)[)\"]")


def anchors(page: Path) -> set[str]:
    """Headings as the usual renderers link them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def commands() -> list[str]:
    """All commands as they are typed, groups with their subcommands."""
    names = []
    for name, command in typer.main.get_command(app).commands.items():
        inner = getattr(command, "commands", {})
        names += [f"{name} {sub}" for sub in inner] or [name]
    return names


@pytest.mark.parametrize("command", commands())
def test_every_command_is_described(command: str) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    # Within a paragraph about a group its subcommands are named without it.
    short = re.escape(command.split()[-1])
    found = re.search(rf"trabecula {re.escape(command)}\b", text) or (" " in command and re.search(rf"`(calibrate )?{short}\b", text))
    assert found, f"no page says what `trabecula {command}` does"
