"""Training goes on from the shipped weights on a site's corrected cases, and ends with a weights folder that the product takes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trabecula_models.bundle import WEIGHTS_FOLDER, load_bundle
from trabecula_models.inference import NetworkRunner
from trabecula_models.networks import NetworkConfig
from trabecula_models.synthesis.scene_set import default_scene_folder
from trabecula_models.training.config import DELINEATE_SAMPLES, LOCATE_SAMPLES, Task, TrainConfig
from trabecula_models.training.corrected_cases import prepare_cases

LEARNING_RATE = 2e-4
"""A twelfth of the rate from scratch: the cases of one site shall bend the weights, not replace them."""


def finetune_config(
    task: Task,
    dataset: Path,
    out: Path,
    *,
    steps: int,
    max_minutes: float,
    seed: int,
    weights: Path = WEIGHTS_FOLDER,
    network: NetworkConfig | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> TrainConfig:
    """Prepare the cases of an export below ``out`` and say how to train on them.

    Synthetic samples are mixed in where their scenes have been built on this machine.

    Raises
    ------
    InputError : no case in ``dataset``, or a damaged one.
    ModelError : the weights to start from are missing.
    """
    bundle = load_bundle(task.value, weights)
    cases = prepare_cases(dataset, out / "cases", NetworkRunner(bundle), tell)
    samples = LOCATE_SAMPLES if task is Task.LOCATE else DELINEATE_SAMPLES
    tell(f"{len(cases)} corrected cases at {bundle.spacing_mm:g} mm")
    return TrainConfig(
        task=task,
        output_folder=out,
        scene_folder=default_scene_folder(),
        samples=replace(samples, spacing_mm=bundle.spacing_mm, shape_zyx=bundle.patch_zyx),
        network=network or NetworkConfig(),
        seed=seed,
        steps=steps,
        learning_rate=LEARNING_RATE,
        decay_from=0.3,
        max_minutes=max_minutes,
        start_from=bundle.weights_path,
        corrected_folder=out / "cases",
    )


def write_weights(config: TrainConfig, dataset: Path, *, weights: Path = WEIGHTS_FOLDER) -> Path:
    """All networks as bundles below ``RUN/weights``, the trained one in place of the old; returns the folder."""
    from trabecula_models.training.export import export

    folder = config.output_folder / "weights"
    shutil.rmtree(folder, ignore_errors=True)
    for task in Task:
        shutil.copytree(weights / task.value, folder / task.value)
    note = f"fine-tuned from the weights of this release on {len(list((config.corrected_folder or dataset).glob('*.npz')))} corrected cases"
    samples = config.samples
    export(
        config.output_folder / "checkpoint.pt",
        config.task,
        samples.spacing_mm,
        samples.shape_zyx,
        folder / config.task.value,
        config.seed,
        note,
    )
    return folder
