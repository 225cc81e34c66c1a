"""``trabecula version`` and ``trabecula --version``."""

from typing import Annotated

import typer


def version() -> None:
    """Print the version of the software."""
    from trabecula_service import __version__

    typer.echo(__version__)


def _print_and_end(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


def show_version(
    _: Annotated[bool, typer.Option("--version", "-V", help="Print the version and end.", callback=_print_and_end, is_eager=True)] = False,
) -> None:
    """Opportunistic bone screening on every CT."""
