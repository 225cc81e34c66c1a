"""``trabecula validate``: the installed product on digital patients of known density, heights and grades."""

from pathlib import Path
from typing import Annotated

import typer


def validate(
    quick: Annotated[bool, typer.Option("--quick", help="Four scans instead of forty-eight.")] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder for the report, the table and finished trials; a second run goes on.")] = Path(
        "validation"
    ),
) -> None:
    """Scan digital patients in many ways, analyse them, and print and write how well truth and result agree.

    Exit code 0: every criterion that was tested is met; 1: one is missed, or the validation could not be done.
    """
    from datetime import datetime

    from trabecula_morphometry.errors import TrabeculaError
    from trabecula_service.validate.run import run_validation

    try:
        outcome = run_validation(out, quick=quick, now=datetime.now().astimezone().replace(microsecond=0), say=typer.echo)
    except TrabeculaError as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"\n{outcome.text}\n\nReport: {outcome.report}\nTable: {outcome.table}")
    if not outcome.passed:
        raise typer.Exit(1)
