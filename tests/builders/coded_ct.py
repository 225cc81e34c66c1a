"""A CT whose grey values say which vertebra is where, and models that can read them: what a perfect foreign model would see and answer."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trabecula_morphometry.digital_patient import DigitalPatient, PatientOptions, make_digital_patient
from trabecula_morphometry.volume import Volume

HU_PER_NUMBER = 20
"""HU of a voxel = this x the VerSe number of the vertebra that holds it; background is 0."""


@lru_cache(maxsize=1)
def coarse_patient() -> DigitalPatient:
    """A digital patient, T9-L5 and sacrum, at 1.5 x 1.5 x 2 mm."""
    return make_digital_patient(PatientOptions(spacing_xyz_mm=(1.5, 1.5, 2.0), field_of_view_mm=240.0))


def coded_volume(patient: DigitalPatient) -> Volume:
    """The patient's grid with coded grey values in place of HU: body and arch of a vertebra alike, as in multi-label masks."""
    return Volume(hu_zyx=(whole_vertebrae(patient).astype(np.int16) * HU_PER_NUMBER), grid=patient.volume.grid)


def whole_vertebrae(patient: DigitalPatient) -> NDArray[np.uint8]:
    """Body and arch under one VerSe number; the sacrum is 26."""
    labels: NDArray[np.uint8] = np.maximum(patient.bodies.labels_zyx, patient.posterior.labels_zyx)
    return labels


def read_code(hu: NDArray[np.float32]) -> NDArray[np.uint8]:
    """VerSe numbers from coded grey values."""
    return np.clip(np.rint(hu / HU_PER_NUMBER), 0, 28).astype(np.uint8)


def write_monai_bundle(folder: Path, channel_names: list[str], numbers: list[int]) -> Path:
    """A real MONAI bundle of one 1 x 1 x 1 convolution whose channel k is largest where the grey value codes ``numbers[k]``.

    The channel's value is 2 a x - a^2 (the square distance to the code a, up to a common term), with grey values x scaled to 0..1.
    """
    import json

    import torch

    codes = torch.tensor([number * HU_PER_NUMBER / 1000.0 for number in numbers])
    state = {"weight": (2 * codes).reshape(-1, 1, 1, 1, 1), "bias": -(codes**2)}
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    torch.save(state, folder / "models" / "model.pt")
    channels = {str(index): name for index, name in enumerate(channel_names)}
    metadata = {"version": "0.0.1", "network_data_format": {"outputs": {"pred": {"channel_def": channels}}}}
    scale = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 1000, "b_min": 0, "b_max": 1, "clip": True}
    inference = {
        "network_def": {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": len(numbers), "kernel_size": 1},
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
                scale,
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [64, 64, 64], "sw_batch_size": 1, "overlap": 0.0},
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    return folder
