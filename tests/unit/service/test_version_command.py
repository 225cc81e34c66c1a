"""The version is where everybody looks for it."""

import pytest
from typer.testing import CliRunner

from trabecula_service import __version__
from trabecula_service.cli.main import app


@pytest.mark.parametrize("question", ["--version", "-V", "version"])
def test_the_version_is_said_by_option_and_by_command(question: str) -> None:
    answer = CliRunner().invoke(app, [question])
    assert (answer.exit_code, answer.output) == (0, f"{__version__}\n")
