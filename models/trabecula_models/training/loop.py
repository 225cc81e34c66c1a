"""Training of `locate` and `delineate` on samples that other processes draw; a run resumes with the same next batch."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor

from trabecula_models.training.config import Task, TrainConfig
from trabecula_models.training.export import unfold_level_scale
from trabecula_models.training.losses import total_loss
from trabecula_models.training.pool import PoolFiles, draw_batch, open_pool, ready, start_workers
from trabecula_models.training.state import TrainLog, TrainState, learning_rate, open_state

MOST_GRADIENT = 10.0
_POLL_S = 0.02


def new_state(config: TrainConfig) -> TrainState:
    """Build the network with the run's seed, or from the checkpoint in the run's folder, or from `start_from`."""
    resumed = config.resume and (config.output_folder / "checkpoint.pt").exists()
    start = starting_weights(config.start_from, config.task) if config.start_from is not None and not resumed else None
    return open_state(config, start, resume=config.resume)


def starting_weights(path: Path, task: Task) -> dict[str, Tensor]:
    """Averaged weights of a checkpoint, or of a bundle, whose last layer holds the level itself instead of its scaled form."""
    if path.suffix != ".safetensors":
        average: dict[str, Tensor] = torch.load(path, weights_only=True)["average"]
        return average
    from safetensors.torch import load_file

    weights = load_file(path)
    return unfold_level_scale(weights) if task is Task.LOCATE else weights


def train_step(config: TrainConfig, state: TrainState, pool: PoolFiles) -> tuple[float, float]:
    """Take one step; return the two losses."""
    batch = draw_batch(config, pool, state.step)
    main, extra = total_loss(
        config.task,
        state.network(torch.from_numpy(batch.image)[:, None]),
        torch.from_numpy(batch.classes).long(),
        torch.from_numpy(batch.heat),
        torch.from_numpy(batch.level),
    )
    state.update(main + extra, learning_rate(config, state.step), most_gradient=MOST_GRADIENT, ema=config.ema)
    return float(main.detach()), float(extra.detach())


def run_training(config: TrainConfig) -> None:
    """Train until `steps` or `max_minutes`, logging every 50 steps to log.jsonl in the run's folder."""
    torch.set_num_threads(config.threads)
    state = new_state(config)
    pool = open_pool(config)
    pool.counters[0] = state.step
    workers = start_workers(config)
    began = time.monotonic()
    log = TrainLog(folder=config.output_folder)
    while state.step < config.steps and time.monotonic() - began < 60 * config.max_minutes:
        asked = time.monotonic()
        while not ready(config, pool, state.step):
            if not any(worker.is_alive() for worker in workers):
                raise RuntimeError("the processes that draw samples have ended; see their message above")
            time.sleep(_POLL_S)
        waited_s = time.monotonic() - asked
        main, extra = train_step(config, state, pool)
        pool.counters[0] = state.step
        log.add(state.step, learning_rate(config, state.step), {"segmentation": main, "extra": extra}, waited_s)
        if state.step % config.checkpoint_every_steps == 0:
            state.save(config.output_folder)
    state.save(config.output_folder)
    for worker in workers:
        worker.terminate()
