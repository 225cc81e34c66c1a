"""Any nnU-Net v2 model folder that outlines vertebrae, run by the installed package ``nnunetv2``.

API: ``nnunetv2.inference.predict_from_raw_data.nnUNetPredictor`` of version 2.8 (initialize_from_trained_model_folder,
predict_single_npy_array). The checkpoint is unpickled by nnU-Net: use models from a source you trust.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trabecula_models.backends.choice import BackendChoice
from trabecula_models.backends.foreign_package import import_package, prints_to_stderr
from trabecula_models.backends.label_map import LabelMap, map_from_names, read_label_map
from trabecula_models.backends.labelled_spine import spine_from_labels
from trabecula_models.backends.port import Backend, Progress
from trabecula_models.backends.timed import with_timing
from trabecula_models.backends.upright import upright
from trabecula_models.bundle import file_sha256
from trabecula_models.errors import ModelError
from trabecula_models.forward import resolve_device
from trabecula_models.segmentation import SpineSegmentation
from trabecula_morphometry.volume import LabelVolume, Volume

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
READERS_THAT_TURN_TO_RAS = frozenset({"NibabelIOWithReorient"})


class NnUNetBackend:
    """One model folder: dataset.json, plans.json, fold_*/checkpoint_final.pth.

    Parameters
    ----------
    predictor : the package's predictor with the model loaded.
    label_map : meaning of its numbers.
    orientation : where the array axes of its training images grow to.
    """

    def __init__(self, predictor: Any, label_map: LabelMap, orientation: str, weights_sha256: str) -> None:
        self._predictor, self._label_map, self._orientation = predictor, label_map, orientation
        self.weights_sha256 = weights_sha256

    def segment(self, volume: Volume, progress: Progress | None = None) -> SpineSegmentation | None:
        """See the port."""
        started = time.perf_counter()
        turned = upright(volume, self._orientation)
        spacing_zyx = [float(step) for step in turned.grid.spacing_xyz_mm[::-1]]
        image: NDArray[np.float32] = np.ascontiguousarray(turned.hu_zyx, dtype=np.float32)[None]
        with prints_to_stderr():
            mask = self._predictor.predict_single_npy_array(image, {"spacing": spacing_zyx}, None, None, False)
        if progress:
            progress("delineate", 1.0)
        predicted = time.perf_counter()
        labels = LabelVolume(labels_zyx=self._label_map.to_verse(np.asarray(mask)), grid=turned.grid)
        spine = spine_from_labels(volume, labels, self._label_map.parts, backend="nnunet", weights_sha256=self.weights_sha256)
        return with_timing(spine, started, predicted)


def build(choice: BackendChoice) -> Backend:
    """The backend for the folder ``choice.model``.

    Raises
    ------
    ModelError : nnU-Net is not installed, the folder is no model of version 2, or its labels name no vertebra.
    """
    folder = _model_folder(choice.model)
    dataset, plans = (_read_json(folder / name) for name in ("dataset.json", "plans.json"))
    label_map = read_label_map(choice.labels) if choice.labels else map_from_names(_declared_names(dataset))
    checkpoint, folds = _checkpoint(folder)
    module = import_package("nnunetv2.inference.predict_from_raw_data", backend="nnunet", package="nnunetv2", extra="nnunet")
    import torch

    device = torch.device(resolve_device(choice.compute.device))
    with prints_to_stderr():
        predictor = module.nnUNetPredictor(use_mirroring=False, device=device, allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(folder), use_folds=folds, checkpoint_name=checkpoint)
    reader = str(plans.get("image_reader_writer") or dataset.get("overwrite_image_reader_writer") or "")
    orientation = choice.orientation or ("RAS" if reader in READERS_THAT_TURN_TO_RAS else "LPS")
    weights = file_sha256(folder / f"fold_{fold}" / checkpoint for fold in folds)
    return NnUNetBackend(predictor, label_map, orientation, weights)


def _model_folder(folder: Path | None) -> Path:
    hint = "give the folder that holds dataset.json, plans.json and fold_0 (for example nnUNetTrainer__nnUNetPlans__3d_fullres)"
    if folder is None or not folder.is_dir():
        raise ModelError("the backend 'nnunet' needs the folder of a model", where=str(folder or ""), hint=hint)
    if list(folder.glob("plans.pkl")) or list(folder.glob("*/*.model")):
        raise ModelError("this is a model of nnU-Net version 1", where=str(folder), hint="version 2 cannot load it; train or convert it")
    return folder


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"the model folder has no readable {path.name}", where=str(path.parent), hint="copy the whole folder") from error
    return content


def _declared_names(dataset: dict[str, Any]) -> dict[int, str]:
    labels = dataset.get("labels", {})
    if any(not isinstance(value, int) for value in labels.values()):
        raise ModelError("a model trained on regions is not supported", where="dataset.json", hint="labels must be single numbers")
    return {number: name for name, number in labels.items()}


def _checkpoint(folder: Path) -> tuple[str, tuple[int | str, ...]]:
    """Name of the checkpoint, and the folds that have it."""
    for name in CHECKPOINTS:
        folds = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{name}"))
        if folds:
            return name, tuple(int(fold) if fold.isdigit() else fold for fold in folds)
    raise ModelError("the model folder has no checkpoint", where=str(folder), hint=f"fold_0/{CHECKPOINTS[0]} is looked for")
