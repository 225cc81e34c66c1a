"""``trabecula demo``: a digital patient from DICOM push to the report in a PACS, on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trabecula_service.demo.run import DemoOutcome


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder that keeps the report and what the PACS got.")] = Path("demo-output"),
    real: Annotated[
        Path | None, typer.Option("--real", help="Send this folder with a real CT series instead of the digital patient.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="AETITLE@HOST:PORT", help="Only send the digital patient's images to this PACS or service."),
    ] = None,
) -> None:
    """Send a made-up patient of known density through a service on free local ports and print true beside measured."""
    from datetime import datetime

    from trabecula_morphometry.errors import TrabeculaError
    from trabecula_service.demo.run import run_digital, run_real, send_digital
    from trabecula_service.demo.send import Receiver

    now = datetime.now().astimezone().replace(microsecond=0)
    try:
        if to is not None:
            send_digital(Receiver.parse(to), now=now, say=typer.echo)
            return
        outcome = run_real(out, real, say=typer.echo) if real is not None else run_digital(out, now=now, say=typer.echo)
    except TrabeculaError as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(1) from error
    _print_outcome(outcome, out)


def _print_outcome(outcome: "DemoOutcome", out: Path) -> None:
    from trabecula_service.demo.compare import as_text

    result = outcome.result
    if outcome.rows:
        density = result.density
        typer.echo(f"\n{as_text(outcome.rows)}\n")
        typer.echo(f"Density in mg/cm3 {density.material or '-'}, basis {density.basis}, calibration {density.calibration_id or '-'}.")
        typer.echo("True = what an error-free scan with the digital phantom reads. Fat in the marrow lowers every such reading")
        typer.echo("(by about 14 mg/cm3 at half fat and 120 kVp); that is not scored here.")
    else:
        names = [level.name for level in result.levels]
        mean = result.density.mean_mg_cm3
        typer.echo(f"\n{result.status}: {', '.join(names) or 'no level'}")
        typer.echo(
            f"mean density: {'not given' if mean is None else f'{mean:.0f} mg/cm3 {result.density.material} ({result.density.basis})'}"
        )
        typer.echo(f"levels with height loss of grade 1 or more: {', '.join(result.fractures.levels) or 'none detected'}")
    typer.echo(f"\nThe PACS got {', '.join(sorted(outcome.received))}.\nReport: {outcome.report}\nEverything: {out}/")
