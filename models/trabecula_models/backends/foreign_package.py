"""Loading and calling a package that only some sites install."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from typing import Any

from trabecula_models.errors import ModelError


class PackageMissingError(ModelError):
    """A backend was chosen whose package is not installed."""


def import_package(module: str, *, backend: str, package: str, extra: str) -> Any:
    """A module of an optional package.

    Parameters
    ----------
    module : what to import; backend : who needs it; package : its name in the registry; extra : our extra that installs it.

    Raises
    ------
    PackageMissingError : with the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise PackageMissingError(
            f"the backend '{backend}' needs the package {package}, which is not installed or lacks a part ({error.name or error})",
            where=f'backend = "{backend}"',
            hint=f'pip install "trabecula[{extra}]" together with torch at its locked version (docs/administrator.md), or use "builtin"',
        ) from error


@contextmanager
def prints_to_stderr() -> Iterator[None]:
    """What a foreign package prints goes to standard error: standard output may be a result (``analyze --json``)."""
    with redirect_stdout(sys.stderr):
        yield
