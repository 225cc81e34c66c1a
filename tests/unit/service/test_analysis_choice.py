"""One setting chooses the backend, for the service and for the command alike."""

import pickle
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trabecula_models.backends.choice import BackendChoice, BackendName
from trabecula_models.forward import Engine, Precision
from trabecula_morphometry.errors import SettingsError
from trabecula_service.cli.main import app
from trabecula_service.pipeline.request import AnalyzeRequest
from trabecula_service.settings.read import read_settings


def settings_choice(tmp_path: Path, lines: str) -> BackendChoice:
    path = tmp_path / "settings.toml"
    path.write_text(f"[analysis]\n{lines}\n")
    return read_settings(path).analysis.choice()


def test_without_a_setting_the_builtin_networks_find_the_vertebrae(tmp_path: Path) -> None:
    assert settings_choice(tmp_path, "") == BackendChoice()


def test_the_settings_file_chooses_backend_model_and_engine(tmp_path: Path) -> None:
    choice = settings_choice(
        tmp_path, 'backend = "nnunet"\nmodel = "/m"\nlabels = "ctspine1k"\nengine = "torch"\nprecision = "float32"\ndevice = "cpu"'
    )
    assert (choice.name, choice.model, choice.labels) == (BackendName.NNUNET, Path("/m"), "ctspine1k")
    assert (choice.compute.engine, choice.compute.precision, choice.compute.device) == (Engine.TORCH, Precision.FLOAT32, "cpu")


@pytest.mark.parametrize(
    ("lines", "word"), [('backend = "nnunet"', "model"), ('backend = "mine"', "backend"), ('device = "tpu"', "device")]
)
def test_a_choice_that_cannot_work_stops_the_start_with_its_key(tmp_path: Path, lines: str, word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        settings_choice(tmp_path, lines)


def test_the_choice_travels_with_the_order_to_the_analysis_process() -> None:
    choice = BackendChoice(name=BackendName.MONAI_BUNDLE, model=Path("/b"))
    request = AnalyzeRequest(input=Path("/i"), out=Path("/o"), created=datetime(2026, 1, 1, tzinfo=UTC), backend=choice)
    assert pickle.loads(pickle.dumps(request)).backend == choice
    assert len({choice, BackendChoice(name=BackendName.MONAI_BUNDLE, model=Path("/b"))}) == 1, "one key of the cache of loaded backends"


def test_the_command_names_a_missing_package_and_ends_with_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_nifti: Path) -> None:
    monkeypatch.setitem(sys.modules, "totalsegmentator", None)
    ended = CliRunner().invoke(app, ["analyze", str(small_nifti), "--out", str(tmp_path / "out"), "--backend", "totalsegmentator"])
    assert ended.exit_code == 2
    assert "trabecula[totalsegmentator]" in ended.stderr
    ended = CliRunner().invoke(app, ["analyze", str(small_nifti), "--out", str(tmp_path / "out"), "--backend", "nnunet"])
    assert ended.exit_code == 2
    assert "--model" in ended.stderr


@pytest.fixture
def small_nifti(tmp_path: Path) -> Path:
    import nibabel
    import numpy as np

    rng = np.random.default_rng(0)
    hu = np.full((64, 64, 60), -1000, np.int16)
    hu[8:56, 8:56] = rng.normal(40, 20, (48, 48, 60)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(hu, np.diag([4.0, 4.0, 3.0, 1.0])), tmp_path / "ct.nii.gz")
    return tmp_path / "ct.nii.gz"
