"""``trabecula rules``: which series of a study is measured, and why."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trabecula_service.dicom.series_choice import ChoiceTable, SeriesRow

rules = typer.Typer(help="The rules that choose the series of a study: see them, try them on files.", no_args_is_help=True)

RulesFile = Annotated[Path | None, typer.Option("--rules", help="TOML with rules of your own; those of the package without it.")]


@rules.command("show")
def show() -> None:
    """Print the rules of the package: a file to begin your own from."""
    from importlib.resources import files

    typer.echo(files("trabecula_service.choose").joinpath("rules.toml").read_text(encoding="utf-8"), nl=False)


@rules.command("test")
def try_rules(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, folders or zips that together are one study.")],
    rules_file: RulesFile = None,
    descriptions: Annotated[
        bool, typer.Option("--descriptions", help="Show the series descriptions too; people write names into them at times.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON, nothing else.")] = False,
) -> None:
    """Show what each series of a study earns from each rule, which one is measured, and why the others are not.

    Only headers are read; nothing is analysed or kept. Exit code 0: a series would be measured; 3: none; 2: nothing readable.
    """
    from trabecula_morphometry.errors import InputError
    from trabecula_service.choose.rules import read_rules
    from trabecula_service.dicom.series_choice import explain_choice
    from trabecula_service.pipeline.request import EXIT_DONE, EXIT_NOT_EVALUABLE, EXIT_UNREADABLE

    try:
        table = explain_choice(paths, read_rules(rules_file), descriptions=descriptions)
    except InputError as error:
        typer.echo(f"trabecula: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(EXIT_UNREADABLE) from error
    if as_json:
        typer.echo(table.model_dump_json(indent=1))
    else:
        _print_table(table)
    if table.refusal:
        typer.echo(f"trabecula: {table.refusal}", err=True)
    raise typer.Exit(EXIT_NOT_EVALUABLE if table.refusal else EXIT_DONE)


def _print_table(table: "ChoiceTable") -> None:
    for row in table.series:
        _print_row(row, table.most_points)
    for sentence in table.split:
        typer.echo(sentence[0].upper() + sentence[1:] + ".")
    for entry in table.ignored:
        typer.echo(f"Not looked at: {entry.count} x {entry.kind}.")


def _print_row(row: "SeriesRow", most_points: float) -> None:
    name = row.name[0].upper() + row.name[1:]
    said = f": {row.reason}" if row.reason else ""
    typer.echo(f"{name}, {row.slice_count} slices: {row.points:g} of {most_points:g} points, {row.verdict}{said}")
    if row.description:
        typer.echo(f"    {row.description}")
    if row.scores:
        typer.echo("    " + ", ".join(f"{score.rule} {score.earned:g}/{score.points:g}" for score in row.scores))
