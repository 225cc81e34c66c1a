# mypy: disable-error-code="no-untyped-call"
"""Real development cases (shared/ct): HU, reference bodies and body centres, on the networks' grid."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its usual short name
from numpy.typing import NDArray
from scipy import ndimage

from trabecula_models.synthesis.sources import shared_folder

DEVELOPMENT_CASES = ("petct-abdopelvis", "colon-sens64", "ircadb1-01")
"""Cases that choices were made on; figures on them are development figures, not claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealCase:
    """One CT resampled to a cubic grid (z superior, y posterior, x left).

    `bodies_zyx` holds VerSe ids of the reference bodies; `centres_mm` maps a level index to (z, y, x) in mm from the
    first voxel.
    """

    name: str
    hu_zyx: NDArray[np.float32]
    bodies_zyx: NDArray[np.uint8]
    centres_mm: dict[int, NDArray[np.float64]]
    spacing_mm: float


def level_index(name: str) -> int:
    """Return the VerSe index of a level name (`T12` is 19, `L1` 20, `S1` 25)."""
    return {"C": 0, "T": 7, "L": 19, "S": 24}[name[0]] + int(name[1:])


def _read_image(folder: Path) -> sitk.Image:
    dicom = folder / "dicom"
    if dicom.is_dir():
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(dicom)))
        image: sitk.Image = reader.Execute()
        return image
    image_file = next(p for p in sorted(folder.glob("*.nii.gz")) if not any(word in p.name for word in ("bodies", "spine", "seg", "mask")))
    return sitk.ReadImage(str(image_file))


def load_case(name: str, spacing_mm: float, margin_mm: float | None = None) -> RealCase:
    """Load and resample one case; fine voxels are averaged first (Gaussian, 0.3 voxel of the target grid).

    Parameters
    ----------
    margin_mm : keep only a box this far around the annotated centres (None = the whole series).
    """
    folder = shared_folder() / "ct" / name
    image = sitk.Cast(sitk.DICOMOrient(_read_image(folder), "LPS"), sitk.sitkFloat32)
    reader = json.loads((folder / "reader.json").read_text())
    points = {level_index(level): np.array(one["center"], float) for level, one in reader["levels"].items() if one.get("center")}
    corners = np.array([image.TransformContinuousIndexToPhysicalPoint(p) for p in ((0, 0, 0), [n - 1 for n in image.GetSize()])])
    low, high = corners.min(0), corners.max(0)
    if margin_mm is not None:
        known = np.array(list(points.values()))
        low, high = np.maximum(low, known.min(0) - margin_mm), np.minimum(high, known.max(0) + margin_mm)
    spacing = np.array(image.GetSpacing())
    sigma = [max(0.0, float(np.sqrt(max((0.3 * spacing_mm) ** 2 - (0.3 * s) ** 2, 0)))) / float(s) for s in spacing]
    smooth = sitk.GetImageFromArray(ndimage.gaussian_filter(sitk.GetArrayFromImage(image), sigma[::-1]))
    smooth.CopyInformation(image)
    grid = sitk.Image([int(v) for v in np.ceil((high - low) / spacing_mm) + 1], sitk.sitkFloat32)
    grid.SetOrigin(low.tolist())
    grid.SetSpacing([spacing_mm] * 3)
    hu = sitk.GetArrayFromImage(sitk.Resample(smooth, grid, sitk.Transform(), sitk.sitkLinear, -1024.0))
    bodies_file = folder / "bodies.nii.gz"
    bodies = np.zeros(hu.shape, np.uint8)
    if bodies_file.exists():
        mask = sitk.DICOMOrient(sitk.ReadImage(str(bodies_file)), "LPS")
        bodies = sitk.GetArrayFromImage(sitk.Resample(mask, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)).astype(np.uint8)
    centres = {level: (point - low)[::-1] for level, point in points.items()}
    return RealCase(name=name, hu_zyx=hu, bodies_zyx=bodies, centres_mm=centres, spacing_mm=spacing_mm)
