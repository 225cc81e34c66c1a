"""The lock holds what the project asks for."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    if match is None:
        raise ValueError(requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def _locked() -> dict[str, str]:
    text = (ROOT / "requirements.lock").read_text() + (ROOT / "torch.lock").read_text()
    return {_name(name): version for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE)}


def test_everything_that_run_installs_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"], *extras["torch"], *extras["jpeg"], *extras["test"]]
    assert [requirement for requirement in wanted if _name(requirement) not in _locked()] == []


def test_every_locked_version_has_hashes_but_torch() -> None:
    blocks = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / "requirements.lock").read_text())
    assert [block.split()[0] for block in blocks if "==" in block.split("\n")[0] and "--hash=sha256:" not in block] == []
    assert "torch" in _locked()
    assert "\ntorch==" not in (ROOT / "requirements.lock").read_text()


def test_the_decisions_are_numbered_without_gaps_and_say_their_status() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(len(pages)))
    assert all("Status: " in page.read_text() for page in pages)
