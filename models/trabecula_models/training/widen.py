"""A plain UNet with more channels that says the same at first, to train on from (net-to-net, Chen 2015, arXiv:1511.05641)."""

from __future__ import annotations

import torch
from torch import Tensor

from trabecula_models.networks import NetworkConfig

NOISE_SHARE = 0.05
"""Noise on each copied weight, of the layer's SD: without it a channel and its copy would learn the same for ever. A choice."""


def widened(weights: dict[str, Tensor], narrow: NetworkConfig, wide: NetworkConfig, *, noise: float = NOISE_SHARE) -> dict[str, Tensor]:
    """The weights of ``wide``, a network like ``narrow`` (neither with norms) with at least as many channels at each level.

    New channels are copies of old ones; what reads both takes half from each.
    """
    levels = len(narrow.channels)
    copied = [torch.arange(b) % a for a, b in zip(narrow.channels, wide.channels, strict=True)]
    image, answer = torch.arange(narrow.in_channels), torch.arange(narrow.out_channels)
    out = dict(weights)
    prefix = "model."
    below = image
    for level in range(levels - 1):
        _widen(out, f"{prefix}0.", [below], copied[level], transposed=False, noise=noise)
        # What comes up from below has the channels of that level's own way up; the deepest one gives its own.
        from_below = copied[level] if level < levels - 2 else copied[level + 1]
        given = copied[level - 1] if level else answer
        _widen(out, f"{prefix}2.", [copied[level], from_below], given, transposed=True, noise=noise)
        below = copied[level]
        prefix += "1.submodule."
    _widen(out, prefix, [below], copied[-1], transposed=False, noise=noise)
    return out


def _widen(weights: dict[str, Tensor], unit: str, taken: list[Tensor], given: Tensor, *, transposed: bool, noise: float) -> None:
    """Copy the channels of one convolution: ``taken`` are the old channels behind each group it reads, ``given`` those it answers with."""
    weight, bias = weights[f"{unit}conv.weight"], weights[f"{unit}conv.bias"]
    weight = weight.transpose(0, 1) if transposed else weight  # (given, taken, z, y, x)
    parts, first = [], 0
    for group in taken:
        count = torch.bincount(group)
        part = weight[:, first : first + len(count)]
        parts.append(part[:, group] / count[group].reshape(1, -1, 1, 1, 1))
        first += len(count)
    grown = torch.cat(parts, dim=1)[given]
    grown = grown + torch.randn_like(grown) * grown.std() * noise
    weights[f"{unit}conv.weight"] = (grown.transpose(0, 1) if transposed else grown).contiguous()
    weights[f"{unit}conv.bias"] = bias[given].clone()
