"""Training: schedule, pool windows, one step, and a resumed run that goes on with the same batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch and monai (extra: torch)")
pytest.importorskip("monai", reason="training needs torch and monai (extra: torch)")

from trabecula_models.networks import NetworkConfig  # noqa: E402
from trabecula_models.synthesis.sample import SampleConfig  # noqa: E402
from trabecula_models.training.config import Task, TrainConfig  # noqa: E402
from trabecula_models.training.export import fold_level_scale  # noqa: E402
from trabecula_models.training.loop import new_state, train_step  # noqa: E402
from trabecula_models.training.losses import LEVEL_MIDDLE, LEVEL_SCALE, segmentation_loss  # noqa: E402
from trabecula_models.training.pool import draw_batch, open_pool, ready, window  # noqa: E402
from trabecula_models.training.state import learning_rate  # noqa: E402

TINY = NetworkConfig(channels=(4, 8), strides=(2,))


def tiny_config(folder: Path, task: Task = Task.DELINEATE) -> TrainConfig:
    return TrainConfig(
        task=task,
        output_folder=folder,
        samples=SampleConfig(shape_zyx=(8, 8, 8)),
        network=TINY,
        steps=100,
        pool_size=8,
        pool_start=4,
        warm_up_steps=2,
    )


def fill_pool(config: TrainConfig) -> None:
    pool = open_pool(config)
    rng = np.random.default_rng(0)
    pool.arrays["hu"][:] = rng.integers(-200, 600, pool.arrays["hu"].shape)
    pool.arrays["classes"][:] = rng.integers(0, 7, pool.arrays["classes"].shape)
    pool.arrays["level"][:] = rng.integers(8, 25, pool.arrays["level"].shape)
    pool.arrays["heat"][:] = 30
    pool.counters[1] = 20


def test_learning_rate_warms_up_stays_and_falls(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    assert learning_rate(config, 0) < learning_rate(config, 1) <= config.learning_rate
    assert learning_rate(config, 50) == config.learning_rate
    assert learning_rate(config, 100) == pytest.approx(0.01 * config.learning_rate)


def test_window_grows_then_slides_and_waits_for_its_samples(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    assert window(config, 0) == (0, 4)
    assert window(config, 40) == (6, 14)
    pool = open_pool(config)
    assert not ready(config, pool, 0)
    pool.counters[1] = 4
    assert ready(config, pool, 0)


def test_segmentation_loss_is_lower_for_the_truth() -> None:
    classes = torch.randint(0, 7, (1, 6, 6, 6))
    right = torch.nn.functional.one_hot(classes, 7).movedim(-1, 1).float() * 12
    assert float(segmentation_loss(right, classes)) < 0.1 < float(segmentation_loss(torch.zeros_like(right), classes))


@pytest.mark.parametrize("task", [Task.LOCATE, Task.DELINEATE])
def test_a_resumed_run_takes_the_same_next_batch_and_step(tmp_path: Path, task: Task) -> None:
    config = tiny_config(tmp_path, task)
    fill_pool(config)
    pool = open_pool(config)
    state = new_state(config)
    before = [value.clone() for value in state.network.state_dict().values()]
    losses = [train_step(config, state, pool) for _ in range(2)]
    assert np.isfinite(losses).all()
    assert any(not torch.equal(a, b) for a, b in zip(before, state.network.state_dict().values(), strict=True))
    state.save(tmp_path)
    resumed = new_state(config)
    assert resumed.step == state.step == 2
    assert draw_batch(config, pool, resumed.step).numbers == draw_batch(config, pool, state.step).numbers
    assert train_step(config, resumed, pool) == pytest.approx(train_step(config, state, pool))


def test_export_folds_the_level_scale_into_the_last_layer(tmp_path: Path) -> None:
    state = new_state(tiny_config(tmp_path, Task.LOCATE))
    image = torch.randn(1, 1, 8, 8, 8)
    state.network.eval()
    with torch.inference_mode():
        raw = state.network(image)
        state.network.load_state_dict(fold_level_scale(dict(state.network.state_dict())))
        folded = state.network(image)
    assert torch.allclose(folded[:, :7], raw[:, :7], atol=1e-5)
    assert torch.allclose(folded[:, 7], raw[:, 7] * LEVEL_SCALE + LEVEL_MIDDLE, atol=1e-4)
