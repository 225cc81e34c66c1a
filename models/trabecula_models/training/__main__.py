"""Command line of training: `python -m trabecula_models.training locate|delineate --out DIR`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from trabecula_models.bundle import load_bundle
from trabecula_models.inference import NetworkRunner
from trabecula_models.synthesis.scene_set import build_scenes, default_scene_folder
from trabecula_models.training import train
from trabecula_models.training.config import DELINEATE_SAMPLES, LOCATE_SAMPLES, Task, TrainConfig
from trabecula_models.training.fine_tuning_cases import prepare_fine_tuning


def main() -> None:
    """Train one network; a run that was stopped goes on where it was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", type=Task, help="locate or delineate")
    parser.add_argument("--out", type=Path, required=True, help="run folder (checkpoint, pool, log)")
    parser.add_argument("--scenes", type=Path, default=default_scene_folder())
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--max-minutes", type=float, default=1e9)
    parser.add_argument("--spacing-mm", type=float, help="default 4 for locate, 2 for delineate")
    parser.add_argument("--patch", type=int, nargs=3, help="patch size z y x in voxels")
    parser.add_argument("--supersample", type=int)
    parser.add_argument("--decay-from", type=float, default=0.6)
    parser.add_argument("--learning-rate", type=float, default=2.5e-3)
    parser.add_argument("--reuse", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start-from", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--real-share", type=float, default=0.0, help="share of samples from real CTs (delineate)")
    options = parser.parse_args()
    samples = LOCATE_SAMPLES if options.task is Task.LOCATE else DELINEATE_SAMPLES
    if options.spacing_mm:
        samples = replace(samples, spacing_mm=options.spacing_mm)
    if options.patch:
        samples = replace(samples, shape_zyx=tuple(options.patch))
    if options.supersample:
        samples = replace(samples, supersample=options.supersample)
    build_scenes(options.scenes)
    real = options.out / "real" if options.real_share > 0 else None
    if real is not None:
        prepare_fine_tuning(real, NetworkRunner(load_bundle(options.task.value)))
    train(
        TrainConfig(
            task=options.task,
            output_folder=options.out,
            scene_folder=options.scenes,
            samples=samples,
            steps=options.steps,
            max_minutes=options.max_minutes,
            decay_from=options.decay_from,
            learning_rate=options.learning_rate,
            reuse=options.reuse,
            seed=options.seed,
            start_from=options.start_from,
            threads=options.threads,
            corrected_folder=real,
            corrected_share=options.real_share,
        )
    )


if __name__ == "__main__":
    main()
