"""The training loop: EMA, learning-rate schedule, checkpoints that resume with the same next batch."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trabecula_models.networks import build_network
from trabecula_models.training.config import Task, TrainConfig
from trabecula_models.training.export import unfold_level_scale
from trabecula_models.training.losses import total_loss
from trabecula_models.training.pool import PoolFiles, draw_batch, open_pool, ready, start_workers


@dataclass(slots=True, kw_only=True)
class TrainState:
    """What changes from step to step."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    step: int = 0


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return warm-up, plateau, then a cosine fall to 1 % of the rate."""
    if step < config.warm_up_steps:
        return config.learning_rate * (step + 1) / config.warm_up_steps
    start = config.decay_from * config.steps
    if step <= start:
        return config.learning_rate
    part = min((step - start) / max(config.steps - start, 1), 1.0)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))


def new_state(config: TrainConfig) -> TrainState:
    """Build the network with the run's seed, or from the checkpoint in the run's folder, or from `start_from`."""
    torch.manual_seed(config.seed)
    network = build_network(config.network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=1e-3)
    path = config.output_folder / "checkpoint.pt"
    if config.resume and path.exists():
        saved: dict[str, Any] = torch.load(path, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        return TrainState(network=network, optimizer=optimizer, average=saved["average"], step=int(saved["step"]))
    if config.start_from is not None:
        network.load_state_dict(_starting_weights(config.start_from, config.task))
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return TrainState(network=network, optimizer=optimizer, average=average)


def _starting_weights(path: Path, task: Task) -> dict[str, Tensor]:
    """Averaged weights of a checkpoint, or of a bundle, whose last layer holds the level itself instead of its scaled form."""
    if path.suffix != ".safetensors":
        average: dict[str, Tensor] = torch.load(path, weights_only=True)["average"]
        return average
    from safetensors.torch import load_file

    weights = load_file(path)
    return unfold_level_scale(weights) if task is Task.LOCATE else weights


def save_state(state: TrainState, folder: Path) -> None:
    """Write the checkpoint whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "checkpoint.tmp"
    torch.save(
        {
            "network": state.network.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "average": state.average,
            "step": state.step,
        },
        temporary,
    )
    temporary.replace(folder / "checkpoint.pt")


def train_step(config: TrainConfig, state: TrainState, pool: PoolFiles) -> tuple[float, float]:
    """Take one step; return the two losses."""
    batch = draw_batch(config, pool, state.step)
    image = torch.from_numpy(batch.image)[:, None]
    output = state.network(image)
    main, extra = total_loss(
        config.task,
        output,
        torch.from_numpy(batch.classes).long(),
        torch.from_numpy(batch.heat),
        torch.from_numpy(batch.level),
    )
    rate = learning_rate(config, state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad(set_to_none=True)
    (main + extra).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), 10.0)
    state.optimizer.step()
    keep = min(config.ema, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for name, value in state.network.state_dict().items():
            state.average[name].lerp_(value, 1 - keep)
    state.step += 1
    return float(main.detach()), float(extra.detach())


def run_training(config: TrainConfig) -> None:
    """Train until `steps` or `max_minutes`, logging every 50 steps to log.jsonl in the run's folder."""
    torch.set_num_threads(config.threads)
    state = new_state(config)
    pool = open_pool(config)
    pool.counters[0] = state.step
    workers = start_workers(config)
    began = last = time.monotonic()
    waited, sums = 0.0, [0.0, 0.0]
    while state.step < config.steps and time.monotonic() - began < 60 * config.max_minutes:
        while not ready(config, pool, state.step):
            if not any(worker.is_alive() for worker in workers):
                raise RuntimeError("the processes that draw samples have ended; see their message above")
            time.sleep(0.02)
            waited += 0.02
        main, extra = train_step(config, state, pool)
        pool.counters[0] = state.step
        sums[0] += main
        sums[1] += extra
        if state.step % 50 == 0:
            now = time.monotonic()
            line = {
                "step": state.step,
                "segmentation": round(sums[0] / 50, 4),
                "extra": round(sums[1] / 50, 4),
                "rate": round(learning_rate(config, state.step), 6),
                "s_per_step": round((now - last) / 50, 3),
                "waited_s": round(waited, 1),
            }
            with (config.output_folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            last, waited, sums = now, 0.0, [0.0, 0.0]
        if state.step % config.checkpoint_every_steps == 0:
            save_state(state, config.output_folder)
    save_state(state, config.output_folder)
    for worker in workers:
        worker.terminate()
