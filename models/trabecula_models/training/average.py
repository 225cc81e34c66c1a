"""``python -m trabecula_models.training.average OLD/checkpoint.pt NEW/checkpoint.pt --out MEAN/checkpoint.pt``: the mean of two stages.

A stage that learns something new loses a little of what the one before knew. The mean of their weights often keeps both (Wortsman et
al., "Robust fine-tuning of zero-shot models", CVPR 2022), where the later one was trained on from the earlier.
"""

import argparse
from pathlib import Path

import torch

from trabecula_models.errors import ModelError


def average_checkpoints(old: Path, new: Path, out: Path) -> None:
    """Write the newer checkpoint with the mean of both averaged weights; ModelError where the networks differ in shape."""
    before, after = (torch.load(path, weights_only=True) for path in (old, new))
    shapes = [{name: tuple(weight.shape) for name, weight in state["average"].items()} for state in (before, after)]
    if shapes[0] != shapes[1]:
        raise ModelError("the two networks differ in shape", where=f"{old}, {new}", hint="only two stages of one network have a mean")
    after["average"] = {
        name: ((before["average"][name].double() + weight.double()) / 2).to(weight.dtype) for name, weight in after["average"].items()
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(after, out)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    average_checkpoints(options.old, options.new, options.out)


if __name__ == "__main__":
    main()
