"""``trabecula analyze``: one input, one folder of results."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from trabecula_service.render.languages import DEFAULT_LANGUAGE, languages


def analyze(
    input_path: Annotated[Path, typer.Argument(metavar="INPUT", help="DICOM folder, DICOM file, zip or NIfTI file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results; made if missing.")],
    series: Annotated[str | None, typer.Option("--series", help="Use this series (SeriesInstanceUID) instead of the best.")] = None,
    acquisition_number: Annotated[int | None, typer.Option("--acquisition-number", help="Use this acquisition of the series.")] = None,
    rules: Annotated[Path | None, typer.Option("--rules", help="TOML with the rules that rate the series.")] = None,
    acquisition: Annotated[Path | None, typer.Option("--acquisition", help="TOML with facts that override the header.")] = None,
    calibration: Annotated[Path | None, typer.Option("--calibration", help="TOML with calibration entries.")] = None,
    phantom: Annotated[str | None, typer.Option("--phantom", help="Phantom that lies under the patient: a name or a TOML file.")] = None,
    backend: Annotated[
        str, typer.Option("--backend", help="What finds the vertebrae: builtin, totalsegmentator, nnunet or monai-bundle.")
    ] = "builtin",
    model: Annotated[Path | None, typer.Option("--model", help="Folder of the model: nnunet, monai-bundle, or fine-tuned weights.")] = None,
    labels: Annotated[str | None, typer.Option("--labels", help="Label map of a foreign model: a name or a TOML file.")] = None,
    orientation: Annotated[str | None, typer.Option("--orientation", help="Axes of an nnU-Net's training images, e.g. LPS.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    engine: Annotated[str, typer.Option("--engine", help="What computes the built-in networks: auto, torch or openvino.")] = "auto",
    voi: Annotated[
        str, typer.Option("--voi", help="Where HU are taken: trabecula, or comp2comp or totalsegmentator to compare with them.")
    ] = "trabecula",
    language: Annotated[str, typer.Option("--language", help="Language of the sentences in the documents: en or de.")] = DEFAULT_LANGUAGE,
    prior: Annotated[
        list[Path] | None, typer.Option("--prior", help="result.json of an earlier study of this patient; may be given several times.")
    ] = None,
    labelmap: Annotated[bool, typer.Option("--labelmap", help="Write the segmentation also as a DICOM label map.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output, nothing else.")] = False,
) -> None:
    """Measure one CT and write result.json, report.pdf, overview.png, masks and (for DICOM) SR, SEG and capture."""
    from pydantic import ValidationError

    from trabecula_models.errors import ModelError
    from trabecula_morphometry.errors import InputError
    from trabecula_service.pipeline.analyze import analyze_input
    from trabecula_service.pipeline.calibration_policy import CalibrationPolicy
    from trabecula_service.pipeline.prior_densities import read_prior
    from trabecula_service.pipeline.request import EXIT_DONE, EXIT_UNREADABLE, AnalyzeRequest
    from trabecula_service.settings.work import AnalysisSettings

    try:
        chosen = AnalysisSettings.model_validate(
            {
                "backend": backend,
                "model": model,
                "labels": labels,
                "orientation": orientation,
                "device": device,
                "engine": engine,
                "voi": voi,
            }
        )
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        typer.echo(f"trabecula: {' '.join(f'--{part}' for part in wrong['loc']) or '--model'}: {wrong['msg']}", err=True)
        raise typer.Exit(EXIT_UNREADABLE) from error
    if language not in languages():
        typer.echo(f"trabecula: --language: {language!r} is none of {', '.join(languages())}", err=True)
        raise typer.Exit(EXIT_UNREADABLE)
    try:
        earlier = tuple(read_prior(path) for path in prior or ())
    except InputError as error:
        typer.echo(f"trabecula: --prior: {error}", err=True)
        raise typer.Exit(EXIT_UNREADABLE) from error
    request = AnalyzeRequest(
        input=input_path,
        out=out,
        created=datetime.now(UTC).replace(microsecond=0),
        series_uid=series,
        acquisition_number=acquisition_number,
        rules_file=rules,
        acquisition_file=acquisition,
        calibration_file=calibration,
        calibration_policy=CalibrationPolicy(phantom=phantom),
        backend=chosen.choice(),
        voi_style=chosen.voi,
        language=language,
        priors=earlier,
        optional_documents=frozenset({"labelmap.seg.dcm"}) if labelmap else frozenset(),
    )
    try:
        with _progress_bar() as progress:
            outcome = analyze_input(request, progress)
    except ModelError as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(EXIT_UNREADABLE) from error
    if outcome.exit_code != EXIT_DONE:
        typer.echo(f"trabecula: {outcome.message}", err=True)
    if as_json and outcome.result is not None:
        typer.echo(outcome.result.to_json(), nl=False)
    elif outcome.exit_code == EXIT_DONE and not as_json:
        _print_summary(outcome.message, out)
    raise typer.Exit(outcome.exit_code)


def _print_summary(message: str, out: Path) -> None:
    typer.echo(message)
    typer.echo(f"results in {out}")


@contextmanager
def _progress_bar() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error, shown only on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _stage, _share: None
        return
    columns = (TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("read", total=1.0)
        yield lambda stage, share: bar.update(task, description=stage, completed=share)
