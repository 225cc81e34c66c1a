"""Writes a MONAI bundle (weights, configurations, README) from a checkpoint: `python -m trabecula_models.training.export`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from trabecula_models.bundle import WEIGHTS_FILE, WEIGHTS_FOLDER
from trabecula_models.networks import CLASS_CHANNELS, REFINE_NETWORK, NetworkConfig
from trabecula_models.training.bundle_export import ExportFacts, write_bundle_texts
from trabecula_models.training.config import Task
from trabecula_models.training.losses import LEVEL_MIDDLE, LEVEL_SCALE
from trabecula_models.training.norms import fold_norms


def fold_level_scale(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rescale the last layer so that channel 7 of `locate` is the VerSe index itself."""
    bias_name = [name for name in weights if name.endswith("bias")][-1]
    weight_name = bias_name.removesuffix("bias") + "weight"
    weight, bias = weights[weight_name].clone(), weights[bias_name].clone()
    weight[:, CLASS_CHANNELS] *= LEVEL_SCALE  # transposed convolution: (in, out, z, y, x)
    bias[CLASS_CHANNELS] = bias[CLASS_CHANNELS] * LEVEL_SCALE + LEVEL_MIDDLE
    return {**weights, weight_name: weight, bias_name: bias}


def unfold_level_scale(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo `fold_level_scale`, to train on from a bundle."""
    bias_name = [name for name in weights if name.endswith("bias")][-1]
    weight_name = bias_name.removesuffix("bias") + "weight"
    weight, bias = weights[weight_name].clone(), weights[bias_name].clone()
    weight[:, CLASS_CHANNELS] /= LEVEL_SCALE
    bias[CLASS_CHANNELS] = (bias[CLASS_CHANNELS] - LEVEL_MIDDLE) / LEVEL_SCALE
    return {**weights, weight_name: weight, bias_name: bias}


def export(
    checkpoint: Path, task: Task, spacing_mm: float, patch_zyx: tuple[int, int, int], folder: Path, seed: int, note: str = ""
) -> Path:
    """Write the averaged weights of `checkpoint` as a MONAI bundle to `folder`; return the path of its metadata.json."""
    from safetensors.torch import save_file

    saved = torch.load(checkpoint, weights_only=True)
    weights, network = saved["average"], NetworkConfig()
    if task is Task.LOCATE:
        weights = fold_level_scale(weights)
    if task is Task.REFINE:
        weights, network = fold_norms(weights), replace(REFINE_NETWORK, norm=None)
    weights = {name: value.contiguous() for name, value in weights.items()}
    (folder / WEIGHTS_FILE).parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / WEIGHTS_FILE)
    facts = ExportFacts(
        task=task, spacing_mm=spacing_mm, patch_zyx=patch_zyx, steps=int(saved["step"]), seed=seed, note=note, network=network
    )
    return write_bundle_texts(folder, facts)


def main() -> None:
    """Export one checkpoint into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("task", type=Task)
    parser.add_argument("--spacing-mm", type=float, required=True)
    parser.add_argument("--patch", type=int, nargs=3, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--note", default="")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or WEIGHTS_FOLDER / options.task.value
    path = export(options.checkpoint, options.task, options.spacing_mm, tuple(options.patch), folder, options.seed, options.note)
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
