"""TotalSegmentator's installed package, task "total", limited to the vertebrae and the sacrum.

API: ``totalsegmentator.python_api.totalsegmentator`` of version 2.18. Two things that the package does by itself are stopped: it reports
each use to its makers, and it fetches missing weights.
"""

import time
from typing import Any

import numpy as np

from trabecula_models.backends.choice import BackendChoice
from trabecula_models.backends.foreign_package import import_package, prints_to_stderr
from trabecula_models.backends.label_map import LabelMap, LabelMapError, map_from_names, read_label_map
from trabecula_models.backends.labelled_spine import spine_from_labels
from trabecula_models.backends.port import Backend, Progress
from trabecula_models.backends.timed import with_timing
from trabecula_models.backends.upright import to_ras, upright
from trabecula_models.bundle import file_sha256
from trabecula_models.errors import ModelError
from trabecula_models.forward import resolve_device
from trabecula_models.segmentation import SpineSegmentation
from trabecula_morphometry.volume import LabelVolume, Volume

TASK = "total"
CROP_MODEL_TASK = 298
"""The coarse model that the package runs first when only some structures are wanted."""


class TotalSegmentatorBackend:
    """The package's function with the structures we want.

    Parameters
    ----------
    function : ``totalsegmentator.python_api.totalsegmentator``.
    structures : names of the wanted structures in the package's own words.
    """

    def __init__(self, function: Any, label_map: LabelMap, structures: list[str], device: str, weights_sha256: str) -> None:
        self._function, self._label_map, self._structures, self._device = function, label_map, structures, device
        self.weights_sha256 = weights_sha256

    def segment(self, volume: Volume, progress: Progress | None = None) -> SpineSegmentation | None:
        """See the port."""
        import nibabel

        started = time.perf_counter()
        turned = upright(volume, "RAS")
        image = nibabel.Nifti1Image(turned.hu_zyx.transpose(2, 1, 0), to_ras(turned.grid.voxel_to_lps))
        with prints_to_stderr():
            found = self._function(
                image, None, ml=True, task=TASK, roi_subset=self._structures, device=self._device, quiet=True, skip_saving=True
            )
        if progress:
            progress("delineate", 1.0)
        predicted = time.perf_counter()
        mask_zyx = np.asarray(found.dataobj).transpose(2, 1, 0)
        if mask_zyx.shape != turned.grid.shape_zyx:
            raise ModelError("TotalSegmentator's mask has another size than the image", where=str(mask_zyx.shape), hint="use version 2.18")
        labels = LabelVolume(labels_zyx=self._label_map.to_verse(mask_zyx), grid=turned.grid)
        spine = spine_from_labels(volume, labels, self._label_map.parts, backend="totalsegmentator", weights_sha256=self.weights_sha256)
        return with_timing(spine, started, predicted)


def build(choice: BackendChoice) -> Backend:
    """The backend over the installed package and the weights that were fetched beforehand.

    Raises
    ------
    ModelError : the package or its weights are missing, or its structures have other numbers than the declared ones.
    """

    def part(module: str) -> Any:
        return import_package(
            f"totalsegmentator.{module}", backend="totalsegmentator", package="TotalSegmentator", extra="totalsegmentator"
        )

    declared = read_label_map(choice.labels or "totalsegmentator")
    names: dict[int, str] = part("map_to_binary").class_map[TASK]
    installed = map_from_names(names, declared.parts)
    if dict(installed.numbers) != dict(declared.numbers):
        raise LabelMapError(
            "the installed TotalSegmentator numbers its structures otherwise than the label map",
            where=f"task {TASK!r}",
            hint="install version 2.18, or give a label map for your version",
        )
    config = part("config")
    config.setup_totalseg()
    config.set_config_key("send_usage_stats", False)
    config.set_config_key("statistics_disclaimer_shown", True)
    weights = _weights(part("map_tasks_config"), config)
    function = part("python_api").totalsegmentator
    device = resolve_device(choice.compute.device)
    structures = [names[number] for number in sorted(declared.numbers)]
    return TotalSegmentatorBackend(function, declared, structures, device.replace("cuda", "gpu"), weights)


def _weights(tasks: Any, config: Any) -> str:
    """Hash of the weights, all of which must be there: nothing is fetched while a patient's images are at work."""
    wanted = [*tasks.get_task_config(TASK)["task_id"], CROP_MODEL_TASK]
    folder = config.get_weights_dir()
    checkpoints = []
    for task in wanted:
        name = tasks.TASK_ID_WEIGHTS_CONFIGS[task]["foldername"]
        found = sorted((folder / name).rglob("checkpoint_final.pth"))
        if not found:
            raise ModelError(
                f"the weights {name} of TotalSegmentator are missing",
                where=str(folder),
                hint="fetch them once with totalseg_download_weights -t total (and -t total_fastest), then copy the folder to this machine",
            )
        checkpoints += found
    return file_sha256(checkpoints)
