"""Development check of weights on real CT: `python -m trabecula_models.training.check WEIGHTS_FOLDER [--cases ...]`.

Reports body Dice (all bodies of the annotated stretch together, and per vertebra by the instance that covers it most),
centre errors, missed levels and body volume outside the stretch. Cases are development cases: choices were made on them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trabecula_models.bundle import load_bundle
from trabecula_models.locate import WINDOW_ZYX as LOCATE_WINDOW_ZYX
from trabecula_models.networks import NetworkConfig, build_network, load_network
from trabecula_models.training.config import Task
from trabecula_models.training.losses import LEVEL_MIDDLE, LEVEL_SCALE
from trabecula_models.training.pictures import draw_prediction
from trabecula_models.training.predict import find_bodies, predict
from trabecula_models.training.real_cases import DEVELOPMENT_CASES, RealCase, load_case

WINDOWS = {2.0: (96, 80, 80), 1.5: (112, 96, 96), 4.0: LOCATE_WINDOW_ZYX}


def read_checkpoint(path: Path, config: NetworkConfig | None = None) -> nn.Module:
    """Build the network with the averaged weights of a training checkpoint."""
    network = build_network(config or NetworkConfig())
    network.load_state_dict(torch.load(path, weights_only=True)["average"])
    return network.eval()


def score_delineate(case: RealCase, output: NDArray[np.float32]) -> dict[str, object]:
    """Compare bodies and centres of one case with its reading."""
    instances, peaks = find_bodies(output, case.spacing_mm)
    voxel_ml = case.spacing_mm**3 / 1000
    predicted = output[:7].argmax(0) == 1
    dices, errors, missed = {}, {}, []
    for level, centre in sorted(case.centres_mm.items()):
        distances = [float(np.linalg.norm(peak - centre)) for peak in peaks]
        if not distances or min(distances) > 15:
            missed.append(level)
        else:
            errors[level] = round(min(distances), 1)
        truth = case.bodies_zyx == level
        if truth.sum() * voxel_ml < 3:
            continue
        hits = np.bincount(instances[truth])
        hits[0] = 0
        best = int(hits.argmax()) if len(hits) > 1 else 0
        found = instances == best if best else np.zeros_like(truth)
        dices[level] = round(2 * float((found & truth).sum()) / float(found.sum() + truth.sum()), 3)
    z = [c[0] for c in case.centres_mm.values()]
    low, high = (int(v / case.spacing_mm) for v in (min(z) - 12, max(z) + 12))
    inside = slice(max(low, 0), high)
    truth_all = case.bodies_zyx[inside] > 0
    semantic = 2 * (predicted[inside] & truth_all).sum() / max(predicted[inside].sum() + truth_all.sum(), 1)
    return {
        "case": case.name,
        "semantic_dice": round(float(semantic), 3),
        "mean_dice": round(float(np.mean(list(dices.values()))), 3) if dices else None,
        "dice": dices,
        "centre_error_mm": errors,
        "median_error_mm": round(float(np.median(list(errors.values()))), 1) if errors else None,
        "missed": missed,
        "instances": len(peaks),
        "levels": len(case.centres_mm),
        "sacrum_ml": round(float((output[:7].argmax(0) == 4).sum()) * voxel_ml, 1),
        "rib_ml": round(float((output[:7].argmax(0) == 5).sum()) * voxel_ml, 1),
    }


def score_locate(case: RealCase, output: NDArray[np.float32], folded: bool) -> dict[str, object]:
    """Compare the level regression at the true centres, and the volumes of the classes."""
    level = output[7] if folded else output[7] * LEVEL_SCALE + LEVEL_MIDDLE
    errors = {}
    for true, centre in sorted(case.centres_mm.items()):
        index = tuple(np.clip(np.rint(centre / case.spacing_mm).astype(int), 0, np.array(level.shape) - 1))
        errors[true] = round(float(level[index]) - true, 2)
    classes = output[:7].argmax(0)
    voxel_ml = case.spacing_mm**3 / 1000
    return {
        "case": case.name,
        "level_error": errors,
        "mean_abs_level_error": round(float(np.mean(np.abs(list(errors.values())))), 2),
        "class_ml": [round(float((classes == k).sum()) * voxel_ml) for k in range(7)],
        "body_at_centres": sum(
            int(classes[tuple(np.clip(np.rint(c / case.spacing_mm).astype(int), 0, np.array(classes.shape) - 1))] == 1)
            for c in case.centres_mm.values()
        ),
    }


def main() -> None:
    """Print one JSON line per case and write pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, help="weights folder, or a training checkpoint.pt")
    parser.add_argument("--task", type=Task, default=Task.DELINEATE)
    parser.add_argument("--spacing-mm", type=float)
    parser.add_argument("--cases", nargs="*", default=list(DEVELOPMENT_CASES))
    parser.add_argument("--margin-mm", type=float, default=75.0, help="box around the annotated column; 0 = whole series")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    is_checkpoint = options.weights.is_file()
    network = read_checkpoint(options.weights) if is_checkpoint else load_network(options.weights)
    spacing = options.spacing_mm or (4.0 if options.task is Task.LOCATE else 2.0)
    if not is_checkpoint:
        spacing = load_bundle(options.weights.name, options.weights.parent).spacing_mm
    margin = None if options.task is Task.LOCATE or options.margin_mm == 0 else options.margin_mm
    for name in options.cases:
        case = load_case(name, spacing, margin)
        output = predict(network, case.hu_zyx, WINDOWS[spacing])
        if options.task is Task.LOCATE:
            sys.stdout.write(json.dumps(score_locate(case, output, not is_checkpoint)) + "\n")
        else:
            sys.stdout.write(json.dumps(score_delineate(case, output)) + "\n")
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            draw_prediction(case, output, options.pictures / f"{options.task.value}_{name}.png")


if __name__ == "__main__":
    main()
