"""Losses of both networks: class logits, and the eighth channel (centre heat or level)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as f

from trabecula_models.networks import CLASS_CHANNELS
from trabecula_models.training.config import Task

LEVEL_MIDDLE, LEVEL_SCALE = 16.5, 8.0
"""While training, channel 7 of `locate` holds (level - 16.5) / 8; export folds this into the last layer."""


def segmentation_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross entropy plus soft Dice over the six structures present in the batch."""
    log_probability = logits.log_softmax(1)
    of_truth = log_probability.gather(1, classes[:, None]).flatten()
    entropy = -of_truth.mean()
    sums = log_probability.exp().sum((0, 2, 3, 4))
    flat = classes.flatten()
    overlap = torch.zeros(CLASS_CHANNELS).index_add(0, flat, of_truth.exp())
    counts = torch.bincount(flat, minlength=CLASS_CHANNELS)
    dice = (2 * overlap + 10) / (sums + counts + 10)
    present = (counts > 0) & (torch.arange(CLASS_CHANNELS) > 0)
    return entropy + 1 - dice[present].mean() if bool(present.any()) else entropy


def heat_loss(heat: Tensor, truth: Tensor) -> Tensor:
    """Squared error weighted towards the peaks (weight 1 + 9 x heat)."""
    return ((heat - truth).square() * (1 + 9 * truth)).mean()


def level_loss(level: Tensor, truth: Tensor, classes: Tensor) -> Tensor:
    """Smooth absolute error of the level inside bodies, posterior elements and sacrum (C7 and above are left out)."""
    inside = (truth >= 8) & ((classes == 1) | (classes == 2) | (classes == 4))
    if not bool(inside.any()):
        return level.sum() * 0.0
    target = (truth[inside].to(level.dtype) - LEVEL_MIDDLE) / LEVEL_SCALE
    return f.smooth_l1_loss(level[inside], target, beta=0.1)


def total_loss(task: Task, output: Tensor, classes: Tensor, heat: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """Return (segmentation loss, loss of the eighth channel), already weighted."""
    main = segmentation_loss(output[:, :CLASS_CHANNELS], classes)
    extra = output[:, CLASS_CHANNELS]
    if task is Task.DELINEATE:
        return main, 10.0 * heat_loss(extra, heat.to(torch.float32) / 255.0)
    return main, 2.0 * level_loss(extra, level, classes)
