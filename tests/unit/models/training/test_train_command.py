"""``trabecula train`` follows the recipe of each network unless it is told otherwise."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="training needs torch and monai (extra: torch)")

from trabecula_models import training
from trabecula_models.bundle import WEIGHTS_FOLDER, load_bundle
from trabecula_models.synthesis import scene_set
from trabecula_models.training.config import RefineConfig, Task, TrainConfig
from trabecula_service.cli.main import app


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configurations that would be trained."""
    configs: list[Any] = []
    monkeypatch.setattr(training, "train", configs.append)
    monkeypatch.setattr(scene_set, "build_scenes", lambda _folder: None)
    return configs


def train(*arguments: object) -> None:
    result = CliRunner().invoke(app, ["train", *map(str, arguments)])
    assert result.exit_code == 0, result.output


def test_refine_is_trained_by_its_recipe(asked: list[Any], tmp_path: Path) -> None:
    train("refine", "--out", tmp_path)
    assert asked == [RefineConfig(output_folder=tmp_path, views_folder=tmp_path / "views")]


@pytest.mark.parametrize("network", ["locate", "delineate"])
def test_the_other_networks_are_trained_by_theirs(network: str, asked: list[Any], tmp_path: Path) -> None:
    train(network, "--out", tmp_path)
    recipe = TrainConfig(task=Task(network), output_folder=tmp_path, samples=asked[0].samples)
    assert asked == [recipe]


@pytest.mark.parametrize("network", ["locate", "delineate", "refine"])
def test_steps_and_seed_can_be_given(network: str, asked: list[Any], tmp_path: Path) -> None:
    train(network, "--out", tmp_path, "--steps", 12, "--seed", 5)
    assert (asked[0].steps, asked[0].seed) == (12, 5)


def test_a_run_can_start_from_a_bundle(asked: list[Any], tmp_path: Path) -> None:
    for network in ("delineate", "refine"):
        train(network, "--out", tmp_path, "--start-from", WEIGHTS_FOLDER / network)
    fine, third = asked
    assert fine.start_from == load_bundle("delineate").weights_path
    assert third.start_from == WEIGHTS_FOLDER / "refine"
