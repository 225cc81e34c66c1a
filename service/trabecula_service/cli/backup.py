"""``trabecula backup`` and ``trabecula restore``: the embedded data folder, while the service runs."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", help="Data folder of the installation.")]


def backup(
    target: Annotated[Path, typer.Argument(help="Folder of the backup; an earlier one there is brought up to date.")], data: Data
) -> None:
    """Copy the data folder while the service runs: the ledger as of one moment, and every file that it names."""
    from trabecula_morphometry.errors import SettingsError
    from trabecula_service.ops.backup import back_up

    try:
        made = back_up(data, target)
    except SettingsError as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{made.objects} objects and {made.documents} documents are in the backup, {made.copied} files of them new")


def restore(source: Annotated[Path, typer.Argument(help="Folder that `trabecula backup` wrote.")], data: Data) -> None:
    """Make a new data folder from a backup; every file is held against its hash."""
    from trabecula_morphometry.errors import SettingsError
    from trabecula_service.ops.backup import restore as restore_folder

    try:
        made = restore_folder(source, data)
    except SettingsError as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{made.objects} objects and {made.documents} documents restored, {made.damaged} damaged or missing")
    if made.damaged:
        raise typer.Exit(3)
