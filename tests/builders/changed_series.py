"""Real series changed in one respect, to see what the product makes of the change. Nothing of them is kept."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

Change = Callable[[Dataset], Dataset | None]


def real_slices(folder: Path, *, low_mm: float = -1e9, high_mm: float = 1e9) -> list[Dataset]:
    """The decoded data sets of a real series between two heights, from the lowest up."""
    slices = []
    for path in folder.iterdir():
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if low_mm <= float(header.ImagePositionPatient[2]) <= high_mm:
            dataset = pydicom.dcmread(path)
            if dataset.file_meta.TransferSyntaxUID.is_compressed:
                dataset.decompress(generate_instance_uid=False)
            slices.append(dataset)
    return sorted(slices, key=lambda dataset: float(dataset.ImagePositionPatient[2]))


def write_slices(slices: list[Dataset], folder: Path) -> Path:
    """Write data sets as they are, uncompressed."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(slices):
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(folder / f"IM{number:04d}.dcm", enforce_file_format=True)
    return folder


def with_pixels(dataset: Dataset, pixels: NDArray[np.generic]) -> Dataset:
    """The data set with other stored values of the same type."""
    dataset.PixelData = np.ascontiguousarray(pixels).astype(dataset.pixel_array.dtype).tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def moved(dataset: Dataset, *, x_mm: float = 0.0, y_mm: float = 0.0, z_mm: float | None = None) -> Dataset:
    """The data set at another place."""
    x, y, z = (float(value) for value in dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [f"{x + x_mm:.4f}", f"{y + y_mm:.4f}", f"{z if z_mm is None else z_mm:.4f}"]
    return dataset


def values_shifted(dataset: Dataset) -> Dataset:
    """Values 1024 too high, as where an intercept was forgotten."""
    dataset.RescaleIntercept = float(dataset.RescaleIntercept) + 1024
    return dataset


def squashed(dataset: Dataset) -> Dataset:
    """Slices at half their distance: every body comes out half as high."""
    return moved(dataset, z_mm=float(dataset.ImagePositionPatient[2]) / 2)


def rows_flipped(dataset: Dataset) -> Dataset:
    """The same anatomy stored from the bottom row up."""
    height_mm = (int(dataset.Rows) - 1) * float(dataset.PixelSpacing[0])
    column = np.array([float(v) for v in dataset.ImageOrientationPatient[3:]])
    dataset = with_pixels(dataset, dataset.pixel_array[::-1])
    place = np.array([float(v) for v in dataset.ImagePositionPatient]) + height_mm * column
    dataset.ImagePositionPatient = [f"{v:.4f}" for v in place]
    dataset.ImageOrientationPatient = [*dataset.ImageOrientationPatient[:3], *(f"{-v:g}" for v in column)]
    return dataset


def sheared(middle_mm: float, pixels_per_slice: int) -> Change:
    """A table that sinks as it moves, as a tilted gantry shows it: the anatomy stays where it is, each slice's window moves."""

    def change(dataset: Dataset) -> Dataset:
        step_mm = 4.25
        rows = round((float(dataset.ImagePositionPatient[2]) - middle_mm) / step_mm) * pixels_per_slice
        pixels = np.full_like(dataset.pixel_array, dataset.pixel_array.min())
        source = dataset.pixel_array
        if rows >= 0:
            pixels[: source.shape[0] - rows] = source[rows:]
        else:
            pixels[-rows:] = source[:rows]
        return moved(with_pixels(dataset, pixels), y_mm=rows * float(dataset.PixelSpacing[0]))

    return change
