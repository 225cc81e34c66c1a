"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from trabecula_models.bundle import WEIGHTS_FOLDER
from trabecula_models.networks import REFINE_NETWORK, NetworkConfig
from trabecula_models.synthesis.sample import SampleConfig
from trabecula_models.synthesis.scene_set import default_scene_folder


class Task(Enum):
    """Which network: coarse over the series, fine around the spine, or at full resolution around each body."""

    LOCATE = "locate"
    DELINEATE = "delineate"
    REFINE = "refine"


LOCATE_SAMPLES = SampleConfig(shape_zyx=(96, 80, 96), spacing_mm=4.0, focus_jitter_mm=70.0, cut_share=0.5, circle_share=0.15)
"""As large as what `locate` looks through at once: from a smaller piece of a chest no level can be told."""
DELINEATE_SAMPLES = SampleConfig(implant_share=0.2)
"""Far more metal and cement than patients have: a body between screws and their streaks was lost where it was 0.06, mostly out of view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One run of `locate` or `delineate`; the same config and seed draw the same samples and batches."""

    task: Task
    output_folder: Path
    """Holds checkpoint.pt, the replay pool and log.jsonl; a run resumes from what it finds there."""
    scene_folder: Path = field(default_factory=default_scene_folder)
    samples: SampleConfig = DELINEATE_SAMPLES
    network: NetworkConfig = field(default_factory=NetworkConfig)
    seed: int = 1
    steps: int = 8000
    batch: int = 2
    learning_rate: float = 2.5e-3
    warm_up_steps: int = 100
    decay_from: float = 0.6
    """Share of the steps after which the rate falls (cosine) to 1 %."""
    ema: float = 0.997
    reuse: float = 8.0
    """How often a sample is used on average (with fresh flips, gain and noise)."""
    pool_size: int = 400
    pool_start: int = 64
    workers: int = 1
    checkpoint_every_steps: int = 250
    max_minutes: float = 1e9
    resume: bool = True
    start_from: Path | None = None
    """A checkpoint whose averaged weights start a new run (fine-tuning at another spacing), or the safetensors file of a bundle."""
    corrected_folder: Path | None = None
    """Cases made by `corrected_cases.prepare_cases`; None: synthetic samples only."""
    corrected_share: float = 0.7
    """Share of samples from corrected cases; all of them where no scene is at hand."""
    threads: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineConfig:
    """One run of `refine`; the same config, seed and views give the same batches."""

    output_folder: Path
    """Holds checkpoint.pt, the views and log.jsonl; a run resumes from what it finds there."""
    views_folder: Path
    """Where the views lie, or are drawn to."""
    weights_folder: Path = WEIGHTS_FOLDER
    """With the bundle `delineate` whose outlines are refined."""
    patches: int = 900
    """Synthetic patches to draw, four to five bodies each, two looks at each (model card)."""
    network: NetworkConfig = REFINE_NETWORK
    seed: int = 1
    steps: int = 21200
    batch: int = 4
    learning_rate: float = 2.5e-3
    warm_up_steps: int = 100
    decay_from: float = 0.5
    ema: float = 0.995
    checkpoint_every_steps: int = 200
    max_minutes: float = 1e9
    start_from: Path | None = None
    """The bundle of a `refine` whose weights start a new run."""
    threads: int = 2
