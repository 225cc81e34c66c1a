"""Training of `refine`: pieces of views of bodies, each with its true outline."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from trabecula_models.bundle import load_bundle
from trabecula_models.forward import Compute, Engine
from trabecula_models.networks import config_from_definition
from trabecula_models.refine import NARROW_HU, WIDE_HU, scale_to_range
from trabecula_models.segment import load_networks
from trabecula_models.synthesis.scene import load_scenes
from trabecula_models.synthesis.scene_set import default_scene_folder
from trabecula_models.training.config import RefineConfig
from trabecula_models.training.norms import unfold_norms
from trabecula_models.training.state import CHECKPOINT, TrainLog, TrainState, learning_rate, open_state
from trabecula_models.training.view_cases import DRAWN_PREFIX, READ_PREFIX, StoredView, draw_views, load_views
from trabecula_models.training.widen import widened

PIECE_ZYX = (40, 40, 48)
"""Pieces of views that a batch is made of: most of a body with its surroundings."""

READ_SHARE = 0.12
"""Share of pieces from the real CTs that may be learnt from (14 bodies)."""

GAIN, SHIFT_SD_HU, NOISE_SHARE, MOST_NOISE_HU = (0.94, 1.07), 10.0, 0.4, 40.0
"""Each use of a piece has its own gain and shift of HU, and in this share of the uses more noise."""

ENTROPY_WEIGHT, DICE_SMOOTHING = 4.0, 100.0

MOST_GRADIENT = 5.0

BATCHES_FOR_NORMS = 25
"""A hundred pieces: what batch norms start from where published weights, which have none, are trained on."""


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


def refine_step(config: RefineConfig, state: TrainState, drawn: list[StoredView], read: list[StoredView]) -> float:
    """Take one step; return the loss."""
    image, truth = draw_batch(config, state.step, drawn, read)
    loss = outline_loss(state.network(image)[:, 0], truth)
    state.update(loss, learning_rate(config, state.step), most_gradient=MOST_GRADIENT, ema=config.ema)
    return float(loss.detach())


def draw_batch(config: RefineConfig, step: int, drawn: list[StoredView], read: list[StoredView]) -> tuple[Tensor, Tensor]:
    """Image (piece, 5, z, y, x) and truth (piece, z, y, x) of a step."""
    rng = np.random.default_rng((config.seed, step))
    pieces = []
    for _ in range(config.batch):
        views = read if read and rng.random() < READ_SHARE else drawn
        pieces.append(draw_piece(views[int(rng.integers(len(views)))], rng))
    image = torch.from_numpy(np.stack([piece[0] for piece in pieces])).contiguous(memory_format=torch.channels_last_3d)
    return image, torch.from_numpy(np.stack([piece[1] for piece in pieces])).float()


def starting_weights(config: RefineConfig, drawn: list[StoredView]) -> dict[str, Tensor] | None:
    """The weights of `start_from`, widened where this run's network has more channels, with norms that have seen some batches."""
    if config.start_from is None or (config.output_folder / CHECKPOINT).exists():
        return None
    bundle = load_bundle(config.start_from.name, config.start_from.parent)
    published, plain = config_from_definition(bundle.network), replace(config.network, norm=None)
    torch.manual_seed(config.seed)
    weights = load_file(bundle.weights_path)
    if published != plain:
        weights = widened(weights, published, plain)
    return unfold_norms(weights, config.network, (draw_batch(config, step, drawn, [])[0] for step in range(BATCHES_FOR_NORMS)))


def train_refine(config: RefineConfig) -> None:
    """Draw the views that are missing, then train until `steps` or `max_minutes`, logging to log.jsonl in the run's folder."""
    networks = load_networks(config.weights_folder, Compute(device="cpu", engine=Engine.TORCH))
    draw_views(config.views_folder, config.patches, config.seed, load_scenes(default_scene_folder()), networks)
    drawn, read = load_views(config.views_folder, DRAWN_PREFIX), load_views(config.views_folder, READ_PREFIX)
    torch.set_num_threads(config.threads)
    state = open_state(config, starting_weights(config, drawn))
    began = time.monotonic()
    log = TrainLog(folder=config.output_folder)
    while state.step < config.steps and time.monotonic() - began < 60 * config.max_minutes:
        loss = refine_step(config, state, drawn, read)
        log.add(state.step, learning_rate(config, state.step), {"loss": loss})
        if state.step % config.checkpoint_every_steps == 0:
            state.save(config.output_folder)
    state.save(config.output_folder)
