"""Training of `refine`: pieces of views of bodies, each with its true outline."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trabecula_models.bundle import load_bundle
from trabecula_models.forward import Compute, Engine
from trabecula_models.inference import NetworkRunner
from trabecula_models.networks import build_network
from trabecula_models.refine import NARROW_HU, WIDE_HU, scale_to_range
from trabecula_models.synthesis.scene import load_scenes
from trabecula_models.synthesis.scene_set import default_scene_folder
from trabecula_models.training.config import RefineConfig
from trabecula_models.training.view_cases import DRAWN_PREFIX, READ_PREFIX, StoredView, draw_views, load_views

PIECE_ZYX = (40, 40, 48)
"""Pieces of views that a batch is made of: most of a body with its surroundings."""

READ_SHARE = 0.12
"""Share of pieces from the real CTs that may be learnt from (14 bodies)."""

GAIN, SHIFT_SD_HU, NOISE_SHARE, MOST_NOISE_HU = (0.94, 1.07), 10.0, 0.4, 25.0
"""Each use of a piece has its own gain and shift of HU, and in this share of the uses more noise."""

ENTROPY_WEIGHT, DICE_SMOOTHING = 4.0, 100.0

STEPS_PER_LOG = 50


@dataclass(slots=True, kw_only=True)
class RefineState:
    """What changes from step to step."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    step: int = 0


def new_refine_state(config: RefineConfig) -> RefineState:
    """Build the network with the run's seed, or from the checkpoint in the run's folder."""
    torch.manual_seed(config.seed)
    network = build_network(config.network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=1e-3)
    state = RefineState(network=network, optimizer=optimizer, average={})
    path = config.output_folder / "checkpoint.pt"
    if path.exists():
        saved = torch.load(path, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        state.step, state.average = int(saved["step"]), saved["average"]
    else:
        state.average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return state


def save_refine_state(state: RefineState, folder: Path) -> None:
    """Write the checkpoint whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "average": state.average,
        "step": state.step,
    }
    torch.save(content, folder / "checkpoint.tmp")
    (folder / "checkpoint.tmp").replace(folder / "checkpoint.pt")


def draw_piece(view: StoredView, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A piece of a view, mirrored at random, with its own gain, shift and noise: channels (5, z, y, x) and truth."""
    shape = np.array(view.truth.shape)
    first = np.array([int(rng.integers(min(0, n - p), max(0, n - p) + 1)) for n, p in zip(shape, PIECE_ZYX, strict=True)])
    low, high = np.maximum(first, 0), np.minimum(first + PIECE_ZYX, shape)
    source = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    target = tuple(slice(int(a), int(b)) for a, b in zip(low - first, high - first, strict=True))
    hu = view.hu[source] * np.float32(rng.uniform(*GAIN)) + np.float32(rng.normal(0, SHIFT_SD_HU))
    if rng.random() < NOISE_SHARE:
        hu = hu + rng.standard_normal(hu.shape, dtype=np.float32) * np.float32(rng.uniform(0, MOST_NOISE_HU))
    channels = np.zeros((5, *PIECE_ZYX), np.float32)
    channels[:3] = -1.0  # beyond the view: air, and no body
    truth = np.zeros(PIECE_ZYX, bool)
    shown = np.stack([scale_to_range(hu, WIDE_HU), scale_to_range(hu, NARROW_HU), *view.said_channels(source)])
    channels[:, target[0], target[1], target[2]] = shown
    truth[target] = view.truth[source]
    if rng.random() < 0.5:
        return channels[..., ::-1], truth[..., ::-1]
    return channels, truth


def outline_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross entropy plus soft Dice of each piece; both (piece, z, y, x)."""
    probability = logits.sigmoid()
    overlap = (probability * truth).sum((1, 2, 3))
    dice = (2 * overlap + DICE_SMOOTHING) / (probability.sum((1, 2, 3)) + truth.sum((1, 2, 3)) + DICE_SMOOTHING)
    return ENTROPY_WEIGHT * nn.functional.binary_cross_entropy_with_logits(logits, truth) + 1 - dice.mean()


def refine_rate(config: RefineConfig, step: int) -> float:
    """Warm-up, plateau, then a cosine fall to 1 % of the rate."""
    part = max(0.0, (step / config.steps - config.decay_from) / (1 - config.decay_from))
    return config.learning_rate * min((step + 1) / config.warm_up_steps, 1.0) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))


def refine_step(config: RefineConfig, state: RefineState, drawn: list[StoredView], read: list[StoredView]) -> float:
    """Take one step; return the loss."""
    rng = np.random.default_rng((config.seed, state.step))
    pieces = []
    for _ in range(config.batch):
        views = read if read and rng.random() < READ_SHARE else drawn
        pieces.append(draw_piece(views[int(rng.integers(len(views)))], rng))
    image = torch.from_numpy(np.stack([piece[0] for piece in pieces])).contiguous(memory_format=torch.channels_last_3d)
    truth = torch.from_numpy(np.stack([piece[1] for piece in pieces])).float()
    for group in state.optimizer.param_groups:
        group["lr"] = refine_rate(config, state.step)
    state.optimizer.zero_grad(set_to_none=True)
    loss = outline_loss(state.network(image)[:, 0], truth)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
    state.optimizer.step()
    keep = min(config.ema, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for name, value in state.network.state_dict().items():
            if value.is_floating_point():
                state.average[name].lerp_(value, 1 - keep)
            else:
                state.average[name].copy_(value)
    state.step += 1
    return float(loss.detach())


def train_refine(config: RefineConfig) -> None:
    """Draw the views that are missing, then train until `steps` or `max_minutes`, logging to log.jsonl in the run's folder."""
    runner = NetworkRunner(load_bundle("delineate", config.weights_folder), Compute(device="cpu", engine=Engine.TORCH))
    draw_views(config.views_folder, config.patches, config.seed, load_scenes(default_scene_folder()), runner)
    drawn, read = load_views(config.views_folder, DRAWN_PREFIX), load_views(config.views_folder, READ_PREFIX)
    torch.set_num_threads(config.threads)
    state = new_refine_state(config)
    began = last = time.monotonic()
    total = 0.0
    while state.step < config.steps and time.monotonic() - began < 60 * config.max_minutes:
        total += refine_step(config, state, drawn, read)
        if state.step % STEPS_PER_LOG == 0:
            now = time.monotonic()
            line = {"step": state.step, "loss": round(total / STEPS_PER_LOG, 4), "s_per_step": round((now - last) / STEPS_PER_LOG, 3)}
            config.output_folder.mkdir(parents=True, exist_ok=True)
            with (config.output_folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            total, last = 0.0, now
        if state.step % config.checkpoint_every_steps == 0:
            save_refine_state(state, config.output_folder)
    save_refine_state(state, config.output_folder)
