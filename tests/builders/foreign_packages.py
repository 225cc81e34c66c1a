"""Stand-ins for packages too large to install for a test, with the API of nnunetv2 2.8.1 and TotalSegmentator 2.18.0 as read there."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel
import numpy as np
import pytest

from builders.coded_ct import read_code
from trabecula_morphometry.levels import LEVEL_OF_LABEL, SACRUM_LABEL


def install(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    """A module under ``name``, with its parents."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        parent = ".".join(parts[:depth])
        if parent not in sys.modules:
            monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
    module = ModuleType(name)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


class FakePredictor:
    """``nnUNetPredictor`` that reads coded grey values; its model numbers levels as CTSpine1K does (the same as VerSe up to L6)."""

    seen: list["FakePredictor"] = []  # noqa: RUF012 - the test asks what was made

    def __init__(
        self,
        tile_step_size: float = 0.5,
        use_gaussian: bool = True,
        use_mirroring: bool = True,
        perform_everything_on_device: bool = True,
        device: Any = None,
        verbose: bool = False,
        verbose_preprocessing: bool = False,
        allow_tqdm: bool = True,
    ) -> None:
        self.device, self.images = device, []
        self.seen.append(self)

    def initialize_from_trained_model_folder(
        self, model_training_output_dir: str, use_folds: Any, checkpoint_name: str = "checkpoint_final.pth"
    ) -> None:
        for fold in use_folds:
            Path(model_training_output_dir, f"fold_{fold}", checkpoint_name).stat()

    def predict_single_npy_array(
        self,
        input_image: Any,
        image_properties: dict[str, Any],
        segmentation_previous_stage: Any = None,
        output_file_truncated: Any = None,
        save_or_return_probabilities: bool = False,
    ) -> Any:
        if input_image.ndim != 4 or input_image.dtype != np.float32 or set(image_properties) != {"spacing"}:
            raise TypeError("nnU-Net wants (channel, z, y, x) float32 and a spacing")
        sys.stdout.write("nnU-Net prints\n")
        self.images.append((input_image.shape, image_properties["spacing"]))
        return read_code(input_image[0])


def install_nnunet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package ``nnunetv2``."""
    install(monkeypatch, "nnunetv2.inference.predict_from_raw_data", nnUNetPredictor=FakePredictor)


def nnunet_folder(folder: Path, labels: dict[str, Any], *, reader: str = "SimpleITKIO") -> Path:
    """A model folder of nnU-Net v2 with one fold."""
    (folder / "fold_0").mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps({"labels": labels, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}))
    (folder / "plans.json").write_text(json.dumps({"image_reader_writer": reader}))
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"weights")
    return folder


TOTAL_CLASS_MAP: dict[int, str] = {
    **{1: "spleen", 25: "sacrum", 26: "vertebrae_S1"},
    **{27 + index: f"vertebrae_L{5 - index}" for index in range(5)},
    **{32 + index: f"vertebrae_T{12 - index}" for index in range(12)},
    **{92 + index: f"rib_{side}_{index % 12 + 1}" for side, first in (("left", 0), ("right", 12)) for index in range(first, first + 12)},
    **{44 + index: f"vertebrae_C{7 - index}" for index in range(7)},
}


def install_totalsegmentator(monkeypatch: pytest.MonkeyPatch, weights: Path, class_map: dict[int, str] | None = None) -> dict[str, Any]:
    """The package ``totalsegmentator`` with weights under ``weights``; gives the configuration that it would keep."""
    chosen = class_map or TOTAL_CLASS_MAP
    number_of = {name: number for number, name in chosen.items()}
    config: dict[str, Any] = {"send_usage_stats": True}

    def totalsegmentator(
        input: Any,
        output: Any = None,
        ml: bool = False,
        task: str = "total",
        roi_subset: Any = None,
        device: str = "gpu",
        quiet: bool = False,
        skip_saving: bool = False,
    ) -> Any:
        if not isinstance(input, nibabel.Nifti1Image) or output is not None or not ml or task != "total":
            raise TypeError("unexpected call")
        sys.stdout.write("TotalSegmentator prints\n")
        if config["send_usage_stats"]:
            raise RuntimeError("a use was reported")
        verse = read_code(np.asarray(input.dataobj, dtype=np.float32))
        names = {label: "sacrum" if label == SACRUM_LABEL else f"vertebrae_{LEVEL_OF_LABEL[label]}" for label in np.unique(verse) if label}
        out = np.zeros(verse.shape, np.uint8)
        for label, name in names.items():
            if name in roi_subset:
                out[verse == label] = number_of[name]
        return nibabel.Nifti1Image(out, input.affine)

    tasks = {task: {"foldername": f"Dataset{task}"} for task in (291, 298)}
    install(monkeypatch, "totalsegmentator.python_api", totalsegmentator=totalsegmentator)
    install(monkeypatch, "totalsegmentator.map_to_binary", class_map={"total": chosen})
    install(
        monkeypatch,
        "totalsegmentator.config",
        setup_totalseg=lambda: None,
        set_config_key=config.__setitem__,
        get_weights_dir=lambda: weights,
    )
    install(
        monkeypatch, "totalsegmentator.map_tasks_config", get_task_config=lambda _task: {"task_id": [291]}, TASK_ID_WEIGHTS_CONFIGS=tasks
    )
    return config


def totalsegmentator_weights(folder: Path) -> Path:
    """Weight folders as the package lays them out."""
    for task in (291, 298):
        fold = folder / f"Dataset{task}" / "nnUNetTrainerNoMirroring__nnUNetPlans__3d_fullres" / "fold_0"
        fold.mkdir(parents=True)
        (fold / "checkpoint_final.pth").write_bytes(b"weights")
    return folder
