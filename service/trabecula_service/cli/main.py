"""Entry point of the command ``trabecula``; each subcommand imports what it needs only when it runs."""

import typer

from trabecula_service.cli.analyze import analyze
from trabecula_service.cli.backfill import backfill
from trabecula_service.cli.backup import backup, restore
from trabecula_service.cli.batch import batch
from trabecula_service.cli.calibrate import calibrate
from trabecula_service.cli.demo import demo
from trabecula_service.cli.evaluate import evaluate
from trabecula_service.cli.export import export
from trabecula_service.cli.rules import rules
from trabecula_service.cli.security import audit, key
from trabecula_service.cli.serve import api, deliver, listen, migrate, serve, work
from trabecula_service.cli.train import synthesize, train
from trabecula_service.cli.validate import validate
from trabecula_service.cli.version import show_version, version

app = typer.Typer(
    name="trabecula",
    help="Opportunistic bone screening on every CT.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.callback()(show_version)
app.command()(analyze)
app.command()(batch)
app.command()(serve)
for role in (listen, work, deliver, api, migrate):
    app.command()(role)
app.command()(backfill)
app.command()(backup)
app.command()(restore)
app.command()(demo)
app.command()(train)
app.command()(synthesize)
app.add_typer(calibrate, name="calibrate")
app.add_typer(evaluate, name="evaluate")
app.add_typer(rules, name="rules")
app.add_typer(key, name="key")
app.add_typer(audit, name="audit")
app.command()(export)
app.command()(validate)
app.command()(version)


def main() -> None:
    """Run the command line."""
    app()
