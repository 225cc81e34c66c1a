"""The mean of two stages of one network; of two networks there is none."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="checkpoints are torch's (extra: torch)")

from trabecula_models.errors import ModelError  # noqa: E402
from trabecula_models.training.average import average_checkpoints  # noqa: E402
from trabecula_models.training.config import Task  # noqa: E402


def checkpoint(path: Path, value: float, shape: tuple[int, ...] = (2, 3)) -> Path:
    torch.save({"average": {"conv.weight": torch.full(shape, value)}, "step": int(value)}, path)
    return path


def test_each_weight_is_the_mean_and_the_rest_is_that_of_the_newer(tmp_path: Path) -> None:
    out = tmp_path / "mean" / "checkpoint.pt"
    average_checkpoints(Task.DELINEATE, checkpoint(tmp_path / "old.pt", 1.0), checkpoint(tmp_path / "new.pt", 4.0), out)
    mean = torch.load(out, weights_only=True)
    assert torch.equal(mean["average"]["conv.weight"], torch.full((2, 3), 2.5))
    assert mean["step"] == 4


def test_networks_of_different_shape_have_no_mean(tmp_path: Path) -> None:
    old, new = checkpoint(tmp_path / "old.pt", 1.0), checkpoint(tmp_path / "new.pt", 4.0, (3, 3))
    with pytest.raises(ModelError, match="differ in shape"):
        average_checkpoints(Task.DELINEATE, old, new, tmp_path / "mean.pt")
    assert not (tmp_path / "mean.pt").exists()


def test_the_older_stage_may_be_a_bundle(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    old, out = tmp_path / "model.safetensors", tmp_path / "mean.pt"
    save_file({"conv.weight": torch.full((2, 3), 1.0)}, old)
    average_checkpoints(Task.DELINEATE, old, checkpoint(tmp_path / "new.pt", 4.0), out)
    assert torch.equal(torch.load(out, weights_only=True)["average"]["conv.weight"], torch.full((2, 3), 2.5))
