"""Any MONAI bundle that outlines vertebrae: its network, preprocessing and inferer as ``configs/inference.json`` says.

A bundle's configuration names Python to run: use bundles from a source you trust. Weights are read without unpickling code.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from trabecula_models.backends.choice import BackendChoice
from trabecula_models.backends.foreign_package import import_package
from trabecula_models.backends.label_map import LabelMap, map_from_names, read_label_map
from trabecula_models.backends.labelled_spine import spine_from_labels
from trabecula_models.backends.port import Backend, Progress
from trabecula_models.backends.timed import with_timing
from trabecula_models.backends.upright import to_ras, upright
from trabecula_models.bundle import file_sha256
from trabecula_models.errors import ModelError
from trabecula_models.forward import resolve_device
from trabecula_models.segmentation import SpineSegmentation
from trabecula_morphometry.volume import Grid, LabelVolume, Volume

WEIGHT_FILES = ("models/model.safetensors", "models/model.pt", "models/model.pth")
STATE_KEYS = ("model", "state_dict", "net", "network")
"""Where training frameworks put the network's own state inside a checkpoint."""


class MonaiBundleBackend:
    """A bundle's parts, built once.

    Parameters
    ----------
    steps : preprocessing of one image, as dictionary transforms without the one that loads a file.
    """

    def __init__(self, network: Any, inferer: Any, steps: list[Any], label_map: LabelMap, device: str, weights_sha256: str) -> None:
        self._network, self._inferer, self._steps, self._label_map, self._device = network, inferer, steps, label_map, device
        self.weights_sha256 = weights_sha256

    def segment(self, volume: Volume, progress: Progress | None = None) -> SpineSegmentation | None:
        """See the port."""
        import torch
        from monai.data.meta_tensor import MetaTensor

        started = time.perf_counter()
        turned = upright(volume, "RAS")
        hu_xyz = torch.from_numpy(np.ascontiguousarray(turned.hu_zyx.transpose(2, 1, 0), dtype=np.float32))
        affine = torch.from_numpy(to_ras(turned.grid.voxel_to_lps))
        item: Any = {"image": MetaTensor(hu_xyz, affine=affine, meta={"original_channel_dim": float("nan")})}
        for step in self._steps:
            item = step(item)
        image = item["image"]
        with torch.inference_mode():
            channels = self._inferer(image.as_tensor()[None].to(self._device), self._network)
            if channels.shape[1] < 2:
                raise ModelError("the bundle gives one channel", where="configs/inference.json", hint="one channel per structure is needed")
            classes = channels[0].argmax(dim=0).to(torch.int16).cpu().numpy()
        if progress:
            progress("delineate", 1.0)
        predicted = time.perf_counter()
        grid = Grid(shape_zyx=classes.shape[::-1], voxel_to_lps=to_ras(np.asarray(image.affine, dtype=np.float64)))
        labels = LabelVolume(labels_zyx=self._label_map.to_verse(classes.transpose(2, 1, 0)), grid=grid)
        spine = spine_from_labels(volume, labels, self._label_map.parts, backend="monai-bundle", weights_sha256=self.weights_sha256)
        return with_timing(spine, started, predicted)


def build(choice: BackendChoice) -> Backend:
    """The backend for the bundle folder ``choice.model``.

    Raises
    ------
    ModelError : the folder is no bundle, its channels name no vertebra, or its weights do not fit its network.
    """
    folder = choice.model
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None) if folder else None
    if folder is None or weights is None:
        hint = "give the folder that holds configs/metadata.json, configs/inference.json and models/model.pt"
        raise ModelError("the backend 'monai-bundle' needs the folder of a bundle", where=str(folder or ""), hint=hint)
    parser = import_package("monai.bundle", backend="monai-bundle", package="monai", extra="torch").ConfigParser()
    device = resolve_device(choice.compute.device)
    try:
        parser.read_config([str(folder / "configs" / "inference.json")])
        parser.read_meta(str(folder / "configs" / "metadata.json"))
        label_map = read_label_map(choice.labels) if choice.labels else map_from_names(_channel_names(parser.get("_meta_")))
        parser["bundle_root"] = str(folder)
        network = parser.get_parsed_content("network_def")
        inferer = parser.get_parsed_content("inferer")
        steps = [step for step in parser.get_parsed_content("preprocessing").transforms if not type(step).__name__.startswith("LoadImage")]
        network.load_state_dict(_state(weights))
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise ModelError(
            f"the bundle cannot be built ({type(error).__name__})",
            where=str(folder),
            hint="its configs/inference.json must define network_def, inferer and preprocessing, and its weights must fit the network",
        ) from error
    return MonaiBundleBackend(network.to(device).eval(), inferer, steps, label_map, device, file_sha256([weights]))


def _channel_names(metadata: dict[str, Any]) -> dict[int, str]:
    outputs = metadata["network_data_format"]["outputs"]
    definition: dict[str, str] = next(iter(outputs.values()))["channel_def"]
    return {int(number): name for number, name in definition.items()}


def _state(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    saved = torch.load(path, map_location="cpu", weights_only=True)
    return next((saved[key] for key in STATE_KEYS if key in saved), saved)
