"""What changes from step to step, the same for every network: optimizer, running mean of the weights, schedule, checkpoint, log."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from trabecula_models.networks import build_network
from trabecula_models.training.config import RefineConfig, TrainConfig

CHECKPOINT = "checkpoint.pt"
WEIGHT_DECAY = 1e-3
LOWEST_RATE_SHARE = 0.01
STEPS_PER_LOG = 50


@dataclass(slots=True, kw_only=True)
class TrainState:
    """A network in training; ``average`` is the running mean of its weights, which is what is exported."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    step: int = 0

    def update(self, loss: Tensor, rate: float, *, most_gradient: float, ema: float) -> None:
        """Take one step down the loss at this rate, with the norm of the gradient limited."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), most_gradient)
        self.optimizer.step()
        keep = min(ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - keep)
                else:  # how many batches a norm has seen
                    self.average[name].copy_(value)
        self.step += 1

    def save(self, folder: Path) -> None:
        """Write the checkpoint whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
        }
        torch.save(content, folder / "checkpoint.tmp")
        (folder / "checkpoint.tmp").replace(folder / CHECKPOINT)


def open_state(config: TrainConfig | RefineConfig, start: dict[str, Tensor] | None = None, *, resume: bool = True) -> TrainState:
    """The network with the run's seed, or from the checkpoint in the run's folder, or with the weights ``start``."""
    torch.manual_seed(config.seed)
    network = build_network(config.network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=WEIGHT_DECAY)
    path = config.output_folder / CHECKPOINT
    if resume and path.exists():
        saved = torch.load(path, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        return TrainState(network=network, optimizer=optimizer, average=saved["average"], step=int(saved["step"]))
    if start is not None:
        network.load_state_dict(start)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return TrainState(network=network, optimizer=optimizer, average=average)


def learning_rate(config: TrainConfig | RefineConfig, step: int) -> float:
    """Return warm-up, plateau, then a cosine fall to 1 % of the rate."""
    if step < config.warm_up_steps:
        return config.learning_rate * (step + 1) / config.warm_up_steps
    start = config.decay_from * config.steps
    part = min(max((step - start) / max(config.steps - start, 1), 0.0), 1.0)
    return config.learning_rate * (LOWEST_RATE_SHARE + (1 - LOWEST_RATE_SHARE) * 0.5 * (1 + math.cos(math.pi * part)))


@dataclass(slots=True, kw_only=True)
class TrainLog:
    """Means over `STEPS_PER_LOG` steps as lines of log.jsonl in the run's folder."""

    folder: Path
    _sums: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)

    def add(self, step: int, rate: float, losses: dict[str, float], waited_s: float = 0.0) -> None:
        """Count a step that has been taken; every fiftieth writes a line."""
        for name, value in {**losses, "waited_s": waited_s}.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if step % STEPS_PER_LOG:
            return
        now = time.monotonic()
        waited = self._sums.pop("waited_s")
        line = {
            "step": step,
            **{name: round(total / STEPS_PER_LOG, 4) for name, total in self._sums.items()},
            "rate": round(rate, 6),
            "s_per_step": round((now - self._since) / STEPS_PER_LOG, 3),
            "waited_s": round(waited, 1),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        self._sums, self._since = {}, now
