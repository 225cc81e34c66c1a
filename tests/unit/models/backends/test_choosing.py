"""Choosing a backend: what is missing is named, nothing is sent or fetched, and nothing heavy is imported before it is needed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from builders.coded_ct import write_monai_bundle
from builders.foreign_packages import (
    TOTAL_CLASS_MAP,
    FakePredictor,
    install_nnunet,
    install_totalsegmentator,
    nnunet_folder,
    totalsegmentator_weights,
)
from trabecula_models.backends.choice import BackendChoice, BackendName
from trabecula_models.backends.foreign_package import PackageMissingError
from trabecula_models.backends.label_map import LabelMapError
from trabecula_models.backends.registry import build_backend
from trabecula_models.errors import ModelError
from trabecula_models.forward import Compute
from trabecula_morphometry.volume import Grid, Volume

pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of MONAI's own import are not ours

CPU = Compute(device="cpu")
NNUNET_LABELS = {"background": 0, "L1": 20, "L2": 21}


def choose(name: BackendName, model: Path | None = None, **more: str) -> BackendChoice:
    return BackendChoice(name=name, model=model, compute=CPU, **more)


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


def test_a_package_that_is_not_installed_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "nnunetv2")
    hide(monkeypatch, "totalsegmentator")
    with pytest.raises(PackageMissingError, match=r"trabecula\[nnunet\]"):
        build_backend(choose(BackendName.NNUNET, nnunet_folder(tmp_path / "m", NNUNET_LABELS)))
    with pytest.raises(PackageMissingError, match=r"trabecula\[totalsegmentator\]"):
        build_backend(choose(BackendName.TOTALSEGMENTATOR))


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "v1"
    (old / "fold_0").mkdir(parents=True)
    (old / "plans.pkl").touch()
    for name, folder, words in (
        (BackendName.NNUNET, tmp_path / "none", "needs the folder"),
        (BackendName.NNUNET, tmp_path, "dataset.json"),
        (BackendName.NNUNET, old, "version 1"),
        (BackendName.MONAI_BUNDLE, tmp_path, "needs the folder of a bundle"),
    ):
        with pytest.raises(ModelError, match=words):
            build_backend(choose(name, folder))


def test_a_model_whose_labels_name_no_vertebra_needs_a_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_nnunet(monkeypatch)
    folder = nnunet_folder(tmp_path / "m", {"background": 0, "class_20": 20})
    with pytest.raises(LabelMapError):
        build_backend(choose(BackendName.NNUNET, folder))
    assert build_backend(choose(BackendName.NNUNET, folder, labels="ctspine1k")).weights_sha256
    bundle = write_monai_bundle(tmp_path / "b", ["background", "liver"], [0, 1])
    with pytest.raises(LabelMapError):
        build_backend(choose(BackendName.MONAI_BUNDLE, bundle))


def test_a_bundle_with_other_weights_than_its_network_is_refused(tmp_path: Path) -> None:
    bundle = write_monai_bundle(tmp_path / "b", ["background", "L1"], [0, 20])
    config = bundle / "configs" / "inference.json"
    config.write_text(config.read_text().replace('"kernel_size": 1', '"kernel_size": 3'))
    with pytest.raises(ModelError, match="cannot be built"):
        build_backend(choose(BackendName.MONAI_BUNDLE, bundle))


def test_totalsegmentator_never_reports_or_fetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = install_totalsegmentator(monkeypatch, totalsegmentator_weights(tmp_path / "w"))
    build_backend(choose(BackendName.TOTALSEGMENTATOR))
    assert config["send_usage_stats"] is False
    install_totalsegmentator(monkeypatch, tmp_path / "empty")
    with pytest.raises(ModelError, match="totalseg_download_weights"):
        build_backend(choose(BackendName.TOTALSEGMENTATOR))


def test_totalsegmentator_with_other_numbers_than_declared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {**TOTAL_CLASS_MAP, 27: "vertebrae_L4", 28: "vertebrae_L5"}
    install_totalsegmentator(monkeypatch, totalsegmentator_weights(tmp_path / "w"), other)
    with pytest.raises(LabelMapError, match="numbers its structures otherwise"):
        build_backend(choose(BackendName.TOTALSEGMENTATOR))


@pytest.mark.parametrize(
    ("reader", "orientation", "x"), [("SimpleITKIO", None, 1), ("NibabelIOWithReorient", None, 3), ("SimpleITKIO", "RAS", 3)]
)
def test_an_nnunet_sees_the_axes_of_its_training_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, orientation: str | None, x: int
) -> None:
    install_nnunet(monkeypatch)
    folder = nnunet_folder(tmp_path / "m", NNUNET_LABELS, reader=reader)
    backend = build_backend(BackendChoice(name=BackendName.NNUNET, model=folder, orientation=orientation, compute=CPU))
    predictor, marks = FakePredictor.seen[-1], []
    monkeypatch.setattr(
        predictor, "predict_single_npy_array", lambda image, *_: marks.append(np.argwhere(image[0])[0]) or np.zeros(image.shape[1:], int)
    )
    hu = np.zeros((6, 5, 5), np.int16)
    hu[4, 2, 1] = 1
    backend.segment(Volume(hu_zyx=hu, grid=Grid(shape_zyx=hu.shape, voxel_to_lps=np.eye(4))))
    assert marks[0].tolist() == [4, 2, x]


def test_choosing_imports_no_framework() -> None:
    code = (
        "import sys, trabecula_models.backends.registry, trabecula_service.settings.read, trabecula_service.cli.main;"
        "print([m for m in ('torch', 'monai', 'openvino', 'nnunetv2', 'totalsegmentator') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
