"""What all tests share: where the real CT cases are, and the first line of the run."""

import os
from pathlib import Path

import pytest


def shared_folder() -> Path | None:
    """The folder with real CT cases, or None where it is missing."""
    folder = Path(os.environ.get("TRABECULA_SHARED", Path(__file__).resolve().parents[1].parent / "shared"))
    return folder if (folder / "ct").is_dir() else None


def pytest_report_header(config: pytest.Config) -> str:
    """First line of the run: how many real cases there are."""
    del config
    folder = shared_folder()
    if folder is None:
        return "real CT: skipped (TRABECULA_SHARED names no folder with real CT cases)"
    cases = len([entry for entry in (folder / "ct").iterdir() if entry.is_dir()])
    return f"real CT: {cases} cases"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real CT cases; tests that need it skip where it is missing."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("real CT cases are not here (set TRABECULA_SHARED)")
    return folder
