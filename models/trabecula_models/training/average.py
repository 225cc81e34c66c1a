"""``python -m trabecula_models.training.average TASK OLD NEW --out MEAN``: the mean of the weights of two stages, of checkpoints.

OLD may also be the safetensors file of a bundle, where nothing else is kept of the earlier stage.

A stage that learns something new loses a little of what the one before knew. The mean of their weights often keeps both (Wortsman et
al., "Robust fine-tuning of zero-shot models", CVPR 2022), where the later one was trained on from the earlier.
"""

import argparse
from pathlib import Path

import torch

from trabecula_models.errors import ModelError
from trabecula_models.training.config import Task
from trabecula_models.training.loop import starting_weights


def average_checkpoints(task: Task, old: Path, new: Path, out: Path) -> None:
    """Write the newer checkpoint with the mean of both averaged weights; ModelError where the networks differ in shape."""
    before, after = starting_weights(old, task), torch.load(new, weights_only=True)
    shapes = [{name: tuple(weight.shape) for name, weight in state.items()} for state in (before, after["average"])]
    if shapes[0] != shapes[1]:
        raise ModelError("the two networks differ in shape", where=f"{old}, {new}", hint="only two stages of one network have a mean")
    after["average"] = {name: ((before[name].double() + weight.double()) / 2).to(weight.dtype) for name, weight in after["average"].items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(after, out)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", type=Task)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    average_checkpoints(options.task, options.old, options.new, options.out)


if __name__ == "__main__":
    main()
