"""``trabecula backfill``: the studies of some days are fetched from the archive and analysed."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

_DAY = ["%Y-%m-%d"]


def backfill(
    first: Annotated[datetime, typer.Option("--from", formats=_DAY, help="First day of the studies (their study date).")],
    last: Annotated[datetime, typer.Option("--to", formats=_DAY, help="Last day, included.")],
    only_find: Annotated[bool, typer.Option("--only-find", help="List what the archive has; fetch nothing.")] = False,
    config: Annotated[Path | None, typer.Option("--config", help="Settings file (TOML); TRABECULA_CONFIG names one too.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder; replaces the key `data` of the file.")] = None,
) -> None:
    """Fetch the CT studies of some days from the archive of [backfill], slowly; the running service analyses them after all others.

    Stop it with Ctrl-C when you like: the same command goes on where it was.
    """
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.table import Table

    from trabecula_morphometry.errors import SettingsError
    from trabecula_service.backfill.port import ArchiveError
    from trabecula_service.backfill.registry import build_archive
    from trabecula_service.backfill.run import Backfill, Days
    from trabecula_service.ledger.database import ledger_place, open_ledger
    from trabecula_service.ops.logs import set_up_logs
    from trabecula_service.settings.read import read_settings

    console = Console(stderr=True)
    try:
        settings = read_settings(config, data=data)
        set_up_logs(settings.log)
        if last < first:
            raise SettingsError("the last day is before the first", where="--from, --to", hint="write the earlier day after --from")
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        ledger = open_ledger(ledger_place(settings.ledger, settings.data), may_migrate=settings.ledger.migrate)
        days = Days(first=first.date(), last=last.date())
        run = Backfill(build_archive(settings, settings.data), ledger, settings.backfill)
        new = run.find(days)
        console.print(f"{run.progress(days).found} studies in the archive, {new} of them new in the list")
        try:
            if not only_find:
                with Bar(console=console, disable=not console.is_terminal) as bar:
                    task = bar.add_task("fetching", total=None)
                    for at in run.fetch(days):
                        bar.update(task, total=at.found, completed=at.fetched)
        except KeyboardInterrupt:
            console.print("stopped; the same command goes on from here")
    except (SettingsError, ArchiveError) as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(2) from error
    table = Table("studies", "became")
    for what, count in run.table(days):
        table.add_row(str(count), what)
    Console().print(table)
    ledger.close()
