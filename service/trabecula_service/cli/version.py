"""``trabecula version``."""

import typer


def version() -> None:
    """Print the version of the software."""
    from trabecula_service import __version__

    typer.echo(__version__)
