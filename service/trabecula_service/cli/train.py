"""``trabecula train`` and ``trabecula synthesize``: the networks' own workshop."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

FINETUNE_STEPS = 1500
"""For a site's few corrected cases; a choice, no other count was tried."""


def train(
    network: Annotated[str, typer.Argument(help="locate, delineate or refine.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder: checkpoint, samples, log. A stopped run goes on from it.")],
    steps: Annotated[int | None, typer.Option(help="Training steps; if not given, those of the network's recipe.")] = None,
    max_minutes: Annotated[float, typer.Option(help="Stop after this many minutes, with a checkpoint.")] = 1e9,
    seed: Annotated[int, typer.Option(help="The same seed draws the same samples.")] = 1,
    start_from: Annotated[
        Path | None, typer.Option("--start-from", help="Bundle folder whose weights a new run starts from, as weights/refine.")
    ] = None,
    finetune: Annotated[
        Path | None,
        typer.Option("--finetune", help="Data set of `trabecula export`: go on from the shipped weights on its corrected cases."),
    ] = None,
) -> None:
    """Train a network on synthetic CT made from the labelled anatomy in $TRABECULA_SHARED/anatomy, or on a site's corrected cases."""
    from trabecula_models.bundle import WEIGHTS_FILE
    from trabecula_models.synthesis.scene_set import build_scenes, default_scene_folder
    from trabecula_models.training import train as run
    from trabecula_models.training.config import DELINEATE_SAMPLES, LOCATE_SAMPLES, RefineConfig, Task, TrainConfig

    try:
        task = Task(network)
    except ValueError as error:
        raise typer.BadParameter("choose locate, delineate or refine") from error
    if finetune is not None:
        if task is Task.REFINE:
            raise typer.BadParameter("corrected cases are learnt by locate or delineate; refine follows them as it is")
        _finetune(task, finetune, out, steps or FINETUNE_STEPS, max_minutes, seed)
        return
    build_scenes(default_scene_folder())
    config: RefineConfig | TrainConfig
    if task is Task.REFINE:
        config = RefineConfig(output_folder=out, views_folder=out / "views", max_minutes=max_minutes, seed=seed, start_from=start_from)
    else:
        samples = LOCATE_SAMPLES if task is Task.LOCATE else DELINEATE_SAMPLES
        weights = None if start_from is None else start_from / WEIGHTS_FILE
        config = TrainConfig(task=task, output_folder=out, samples=samples, max_minutes=max_minutes, seed=seed, start_from=weights)
    run(config if steps is None else replace(config, steps=steps))


def _finetune(task: object, dataset: Path, out: Path, steps: int, max_minutes: float, seed: int) -> None:
    from trabecula_models.training import train as run
    from trabecula_models.training.config import Task
    from trabecula_models.training.finetune import finetune_config, write_weights
    from trabecula_morphometry.errors import TrabeculaError

    try:
        config = finetune_config(Task(task), dataset, out, steps=steps, max_minutes=max_minutes, seed=seed, tell=typer.echo)
        run(config)
        folder = write_weights(config, dataset)
    except TrabeculaError as error:
        typer.echo(f"trabecula: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"weights in {folder}; try them: trabecula analyze INPUT --out OUT --model {folder}")


def synthesize(
    out: Annotated[Path, typer.Option("--out", help="Folder for ct.nii.gz, bodies.nii.gz, posterior.nii.gz and truth.json.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same volume.")] = 1,
) -> None:
    """Write one synthetic CT with its masks and its truth: levels, centres, densities, losses of height, variants, implants."""
    from trabecula_models.synthesis.case import write_synthetic_case

    write_synthetic_case(out, seed=seed)
    typer.echo(f"synthetic CT in {out}")
