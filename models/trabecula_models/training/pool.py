"""A replay pool on disk: a background process draws samples, training uses each one several times.

Sample k depends on (seed, k) only, and step n may use samples `window(n)` only, so batches do not depend on how fast
either side runs, and a resumed run goes on with the same batches.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

import numpy as np
from numpy.typing import NDArray

from trabecula_models.training.config import TrainConfig

SLACK = 48
_FIELDS: tuple[tuple[str, type], ...] = (("hu", np.int16), ("classes", np.uint8), ("heat", np.uint8), ("level", np.uint8))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFiles:
    """Memory-mapped arrays (slot, z, y, x) and counters: [0] training step, [1 + w] samples finished by worker w."""

    arrays: dict[str, NDArray[np.generic]]
    counters: NDArray[np.int64]


def open_pool(config: TrainConfig) -> PoolFiles:
    """Open the pool of a run, creating its files when missing."""
    folder = config.output_folder / "pool"
    folder.mkdir(parents=True, exist_ok=True)
    shape = (config.pool_size + SLACK, *config.samples.shape_zyx)

    def mapped(name: str, kind: type, size: tuple[int, ...]) -> NDArray[np.generic]:
        path = folder / f"{name}.npy"
        if not path.exists():
            return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=size)
        return np.lib.format.open_memmap(path, mode="r+")

    arrays = {name: mapped(name, kind, shape) for name, kind in _FIELDS}
    return PoolFiles(arrays=arrays, counters=mapped("counters", np.int64, (1 + config.workers,)))  # type: ignore[arg-type]


def window(config: TrainConfig, step: int) -> tuple[int, int]:
    """Return the half-open range of sample numbers that step `step` may use."""
    stop = config.pool_start + int(step * config.batch / config.reuse)
    return max(0, stop - config.pool_size), stop


def _fill(config: TrainConfig, worker: int, parent: int) -> None:
    """Draw samples worker, worker + workers, ... as far as training has come; end with the parent process."""
    import torch

    from trabecula_models.synthesis.sample import draw_sample
    from trabecula_models.synthesis.scene import load_scenes
    from trabecula_models.training.corrected_cases import CorrectedCase, draw_corrected_sample

    torch.set_num_threads(1)
    os.nice(3)
    corrected = [CorrectedCase.load(path) for path in sorted(config.corrected_folder.glob("*.npz"))] if config.corrected_folder else []
    scenes = load_scenes(config.scene_folder)
    if not scenes and not corrected:
        raise FileNotFoundError(f"no scenes in {config.scene_folder}: run python -m trabecula_models.synthesis.scene_set")
    pool = open_pool(config)
    while os.getppid() == parent:
        number = int(pool.counters[1 + worker]) * config.workers + worker
        if number >= window(config, int(pool.counters[0]))[1] + SLACK // 2:
            time.sleep(0.05)
            continue
        rng = np.random.default_rng((config.seed, number))
        if corrected and (not scenes or rng.random() < config.corrected_share):
            sample = draw_corrected_sample(corrected[int(rng.integers(len(corrected)))], config.samples, rng)
        else:
            sample = draw_sample(scenes[int(rng.integers(len(scenes)))], config.samples, rng)
        slot = number % (config.pool_size + SLACK)
        pool.arrays["hu"][slot] = sample.hu_zyx
        pool.arrays["classes"][slot] = sample.class_zyx
        pool.arrays["heat"][slot] = sample.heat_zyx
        pool.arrays["level"][slot] = sample.level_zyx
        pool.counters[1 + worker] += 1


def start_workers(config: TrainConfig) -> list[BaseProcess]:
    """Start the processes that fill the pool."""
    context = multiprocessing.get_context("spawn")
    workers: list[BaseProcess] = []
    for worker in range(config.workers):
        process = context.Process(target=_fill, args=(config, worker, os.getpid()), daemon=True)
        process.start()
        workers.append(process)
    return workers


def ready(config: TrainConfig, pool: PoolFiles, step: int) -> bool:
    """Tell whether every sample that `step` may use has been drawn."""
    stop = window(config, step)[1]
    return all(int(pool.counters[1 + w]) * config.workers + w >= stop for w in range(config.workers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One training batch as plain arrays (sample, z, y, x); `image` is scaled to -1..1."""

    image: NDArray[np.float32]
    classes: NDArray[np.uint8]
    heat: NDArray[np.uint8]
    level: NDArray[np.uint8]
    numbers: tuple[int, ...]


def scale_hu(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clip to [-200, 1000] HU and scale to -1..1, the input of both networks."""
    return np.asarray((np.clip(hu, -200.0, 1000.0) + 200.0) / 600.0 - 1.0, np.float32)


def draw_batch(config: TrainConfig, pool: PoolFiles, step: int) -> Batch:
    """Return the batch of one step: random samples of its window, mirrored, with their own gain, shift and noise."""
    rng = np.random.default_rng((config.seed, 1_000_003, step))
    low, high = window(config, step)
    numbers = tuple(int(n) for n in rng.integers(low, high, config.batch))
    columns: dict[str, list[NDArray[np.generic]]] = {name: [] for name, _ in _FIELDS}
    for number in numbers:
        flip = slice(None, None, -1 if rng.random() < 0.5 else 1)
        slot = number % (config.pool_size + SLACK)
        gain, shift = rng.uniform(0.94, 1.07), rng.normal(0, 10)
        sd = rng.uniform(0, 20) if rng.random() < 0.5 else 0.0
        for name in columns:
            columns[name].append(pool.arrays[name][slot][:, :, flip])
        hu = columns["hu"][-1].astype(np.float32) * np.float32(gain) + np.float32(shift)
        if sd > 0:
            hu += rng.standard_normal(hu.shape, dtype=np.float32) * np.float32(sd)
        columns["hu"][-1] = scale_hu(hu)
    return Batch(
        image=np.stack(columns["hu"]),
        classes=np.stack(columns["classes"]),
        heat=np.stack(columns["heat"]),
        level=np.stack(columns["level"]),
        numbers=numbers,
    )
