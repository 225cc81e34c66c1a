"""``trabecula serve``: the whole service in one process."""

from pathlib import Path
from typing import Annotated

import typer


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings file (TOML); TRABECULA_CONFIG names one too. Every key has a default.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder; replaces the key `data` of the file.")] = None,
) -> None:
    """Receive studies, analyse them, deliver the documents and show the work list."""
    from trabecula_morphometry.errors import SettingsError
    from trabecula_service.bootstrap import Service
    from trabecula_service.ops.logs import set_up_logs
    from trabecula_service.settings import read_settings

    try:
        settings = read_settings(config, data=data)
        set_up_logs(settings.log)
        service = Service(settings)
        service.run()
    except SettingsError as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(2) from error
