"""Fine-tuning on a site's corrected cases: labels of the export where it has them, the network's own view elsewhere."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch and monai (extra: torch)")
pytest.importorskip("monai", reason="training needs torch and monai (extra: torch)")

from safetensors.torch import save_file  # noqa: E402

from builders.results import Column, column_result  # noqa: E402
from trabecula_models.networks import NetworkConfig  # noqa: E402
from trabecula_models.synthesis.sample import SampleConfig  # noqa: E402
from trabecula_models.training.config import Task, TrainConfig  # noqa: E402
from trabecula_models.training.corrected_cases import CorrectedCase, draw_corrected_sample, prepare_cases  # noqa: E402
from trabecula_models.training.export import fold_level_scale, unfold_level_scale  # noqa: E402
from trabecula_models.training.loop import new_state, run_training  # noqa: E402
from trabecula_morphometry.errors import InputError  # noqa: E402
from trabecula_morphometry.levels import LABEL_OF_LEVEL  # noqa: E402
from trabecula_morphometry.volume import LabelVolume  # noqa: E402
from trabecula_service.dicom.nifti import write_label_nifti  # noqa: E402
from trabecula_service.export.verse_layout import centroid_list, hu_nifti_bytes  # noqa: E402

COLUMN = Column(names=("T12", "L1", "L2"), spacing_mm=(2.0, 2.0, 3.0), size_xy=(64, 80))
RIB = 5


class SeesRibs:
    """A network that sees a rib everywhere to the left, and bodies where there are none."""

    bundle = SimpleNamespace(spacing_mm=3.0)

    def run(self, hu_zyx: np.ndarray, *, window_zyx: tuple[int, int, int]) -> np.ndarray:
        out = np.zeros((8, *hu_zyx.shape), np.float32)
        out[0], out[1, :3], out[RIB, :, :, -4:] = 1.0, 2.0, 3.0
        return out


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set")
    volume, bodies, posterior = COLUMN.volumes()
    derived, raw = root / "derivatives" / "sub-trab0001", root / "rawdata" / "sub-trab0001"
    derived.mkdir(parents=True)
    raw.mkdir(parents=True)
    (raw / "sub-trab0001_ct.nii.gz").write_bytes(hu_nifti_bytes(volume))
    whole = LabelVolume(labels_zyx=np.maximum(bodies.labels_zyx, posterior.labels_zyx), grid=bodies.grid)
    write_label_nifti(derived / "sub-trab0001_seg-vert_msk.nii.gz", whole)
    write_label_nifti(derived / "sub-trab0001_seg-vb_msk.nii.gz", bodies)

    (derived / "sub-trab0001_seg-vb_ctd.json").write_text(json.dumps(centroid_list(column_result(COLUMN), volume.grid)))
    return root


@pytest.fixture(scope="module")
def case(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> CorrectedCase:
    (path,) = prepare_cases(dataset, tmp_path_factory.mktemp("cases"), SeesRibs())
    return CorrectedCase.load(path)


def test_the_export_says_what_is_bone_and_the_network_what_the_export_cannot_know(case: CorrectedCase) -> None:
    z, y, x = np.rint(case.centres_zyx[1]).astype(int)
    assert (case.classes_zyx[z, y, x], case.level_zyx[z, y, x]) == (1, LABEL_OF_LEVEL["L1"])
    assert (case.classes_zyx == 2).any()
    assert (case.classes_zyx[..., -1] == RIB).all()
    assert not (case.classes_zyx[:2] == 1).any(), "bodies that only the network saw are none"


def test_samples_keep_labels_on_their_bone_and_the_heat_on_its_centre(case: CorrectedCase) -> None:
    config = SampleConfig(shape_zyx=(32, 24, 24), spacing_mm=3.0, focus_jitter_mm=10.0)
    first, again = (draw_corrected_sample(case, config, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first.hu_zyx, again.hu_zyx)
    assert first.hu_zyx[first.class_zyx == 1].mean() > 100 > first.hu_zyx[first.class_zyx == 0].mean()
    assert first.class_zyx[first.heat_zyx > 240].tolist() == [1] * int((first.heat_zyx > 240).sum())
    assert (first.heat_zyx > 240).any()


def test_a_run_on_corrected_cases_alone_needs_no_synthetic_scene(case: CorrectedCase, tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    case.save(tmp_path / "cases" / "one.npz")
    config = TrainConfig(
        task=Task.DELINEATE,
        output_folder=tmp_path,
        scene_folder=tmp_path / "none",
        samples=SampleConfig(shape_zyx=(16, 16, 16), spacing_mm=3.0),
        network=NetworkConfig(channels=(4, 8), strides=(2,)),
        steps=3,
        pool_size=8,
        pool_start=4,
        threads=1,
        corrected_folder=tmp_path / "cases",
    )
    run_training(config)
    assert new_state(config).step == 3


def test_training_goes_on_from_a_bundle_as_it_was(tmp_path: Path) -> None:
    config = TrainConfig(task=Task.LOCATE, output_folder=tmp_path, network=NetworkConfig(channels=(4, 8), strides=(2,)))
    weights = {name: value.clone() for name, value in new_state(config).network.state_dict().items()}

    save_file(fold_level_scale(weights), tmp_path / "model.safetensors")
    again = new_state(replace(config, start_from=tmp_path / "model.safetensors")).network.state_dict()
    assert all(torch.allclose(again[name], weights[name], atol=1e-5) for name in weights)
    assert all(torch.allclose(value, weights[name], atol=1e-5) for name, value in unfold_level_scale(fold_level_scale(weights)).items())


def test_masks_without_bodies_are_refused_by_name(dataset: Path, tmp_path: Path) -> None:

    shutil.copytree(dataset, tmp_path / "verse")
    next((tmp_path / "verse").rglob("*_seg-vb_msk.nii.gz")).unlink()
    with pytest.raises(InputError, match="masks of the bodies are missing"):
        prepare_cases(tmp_path / "verse", tmp_path / "cases", SeesRibs())
