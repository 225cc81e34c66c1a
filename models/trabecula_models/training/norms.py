"""Batch norms of `refine`: training needs them, inference does without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from trabecula_models.networks import NetworkConfig, build_network

BATCH_NORM_EPS = 1e-5
"""torch's own."""


def fold_norms(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same network without its batch norms, which at inference only scale and shift what each convolution gives."""
    folded = {name: value for name, value in weights.items() if ".adn.N." not in name}
    for running in [name for name in weights if name.endswith("adn.N.running_var")]:
        unit = running.removesuffix("adn.N.running_var")
        scale = weights[f"{unit}adn.N.weight"] / torch.sqrt(weights[running] + BATCH_NORM_EPS)
        convolution = weights[f"{unit}conv.weight"]
        # Output channels lie first, in a transposed convolution second; that one stands in the second half of each level.
        shape = (1, -1, 1, 1, 1) if unit.split(".")[-2] == "2" else (-1, 1, 1, 1, 1)
        folded[f"{unit}conv.weight"] = convolution * scale.reshape(shape)
        folded[f"{unit}conv.bias"] = (weights[f"{unit}conv.bias"] - weights[f"{unit}adn.N.running_mean"]) * scale + weights[
            f"{unit}adn.N.bias"
        ]
    return folded


def unfold_norms(folded: dict[str, Tensor], config: NetworkConfig, images: Iterable[Tensor]) -> dict[str, Tensor]:
    """The same network with batch norms again, to train on from what was published.

    Each norm takes mean and variance of what its convolution gives for ``images``, as if it had seen them in training, and scales and
    shifts it back: folded again, the weights are the same.
    """
    plain = build_network(replace(config, norm=None)).eval()
    plain.load_state_dict(folded)
    normed = build_network(config)
    weights = {**normed.state_dict(), **folded}
    units = [name.removesuffix("adn.N.running_var") for name in weights if name.endswith("adn.N.running_var")]
    sums: dict[str, list[Tensor]] = {unit: [] for unit in units}

    def watch(unit: str) -> None:
        def keep(_module: object, _given: object, said: Tensor) -> None:
            values = said.transpose(0, 1).flatten(1).double()
            sums[unit].append(torch.stack([values.mean(1), values.square().mean(1)]))

        plain.get_submodule(f"{unit}conv").register_forward_hook(keep)

    for unit in units:
        watch(unit)
    with torch.inference_mode():
        for image in images:
            plain(image)
    for unit, seen in sums.items():
        mean, square = torch.stack(seen).mean(0)
        variance = square - mean.square()
        weights[f"{unit}adn.N.running_mean"] = mean.float().clone()
        weights[f"{unit}adn.N.running_var"] = variance.float().clone()
        weights[f"{unit}adn.N.weight"] = torch.sqrt(variance + BATCH_NORM_EPS).float()
        weights[f"{unit}adn.N.bias"] = mean.float().clone()
    return weights
