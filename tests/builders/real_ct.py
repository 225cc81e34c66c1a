"""Reads the shared real CT cases for tests of the measuring side, independent of the product's own DICOM reader."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom

from trabecula_morphometry.levels import LABEL_OF_LEVEL
from trabecula_morphometry.vertebra import VertebraInput
from trabecula_morphometry.volume import Grid, LabelVolume, Volume

CASES: dict[str, tuple[str, str, int | None, str]] = {
    "petct-abdopelvis": ("petct-abdopelvis", "petct-abdopelvis/dicom", None, "reader.json"),
    "colon-sens64": ("colon-sens64", "colon-sens64/dicom", None, "reader.json"),
    "ircadb1-01": ("ircadb1-01", "ircadb1-01/dicom", None, "reader.json"),
    "hcc-007-portal": ("hcc-007/two-phases", "hcc-007/two-phases/dicom", 3, "reader.json"),
    "hcc-007-arterial": ("hcc-007/two-phases", "hcc-007/two-phases/dicom", 1, "reader_acquisition1.json"),
    "verse012": ("verse012", "verse012/sub-verse012_ct.nii.gz", None, "reader.json"),
    "totalseg-example": ("totalseg-example", "totalseg-example/example_ct.nii.gz", None, "reader.json"),
}


@dataclass(frozen=True, kw_only=True)
class RealCase:
    """One real CT with its reference bodies and its reading."""

    name: str
    volume: Volume
    bodies: LabelVolume
    reader: dict[str, Any]
    vertebrae: tuple[VertebraInput, ...]


def load_nifti(path: Path) -> tuple[np.ndarray, Grid]:
    """A NIfTI file as [z, y, x] array on an LPS grid."""
    image = nib.load(path)
    data = np.asarray(image.dataobj)
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    return np.ascontiguousarray(data.transpose(2, 1, 0)), Grid(shape_zyx=data.shape[::-1], voxel_to_lps=matrix)


def load_dicom(folder: Path, acquisition: int | None = None) -> Volume:
    """One acquisition of a DICOM series, sorted along its normal (even slices only)."""
    slices = [pydicom.dcmread(file) for file in sorted(folder.rglob("*.dcm"))]
    slices = [s for s in slices if acquisition is None or int(s.AcquisitionNumber) == acquisition]
    row, column = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    slices.sort(key=lambda s: float(np.array(s.ImagePositionPatient, float) @ normal))
    hu = np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]).astype(np.int16)
    first, last = (np.array(s.ImagePositionPatient, float) for s in (slices[0], slices[-1]))
    matrix = np.eye(4)
    matrix[:3, 0] = row * float(slices[0].PixelSpacing[1])
    matrix[:3, 1] = column * float(slices[0].PixelSpacing[0])
    matrix[:3, 2] = (last - first) / (len(slices) - 1)
    matrix[:3, 3] = first
    return Volume(hu_zyx=hu, grid=Grid(shape_zyx=hu.shape, voxel_to_lps=matrix))


def load_case(ct_folder: Path, name: str) -> RealCase:
    """One case of ``CASES`` with the reader's levels as found vertebrae (T1-L6 that the reference mask holds)."""
    folder, image, acquisition, reading = CASES[name]
    path = ct_folder / image
    if path.is_dir():
        volume = load_dicom(path, acquisition)
    else:
        hu, grid = load_nifti(path)
        volume = Volume(hu_zyx=hu.astype(np.int16), grid=grid)
    reader = json.loads((ct_folder / folder / reading).read_text())
    labels, grid = load_nifti(ct_folder / folder / "bodies.nii.gz")
    bodies = LabelVolume(labels_zyx=labels.astype(np.uint8), grid=grid)
    present = set(np.unique(labels))
    vertebrae = tuple(
        VertebraInput(
            name=level, label=LABEL_OF_LEVEL[level], center_lps_mm=tuple(facts["center"]), complete=bool(facts.get("complete", True))
        )
        for level, facts in reader["levels"].items()
        if facts.get("center") and LABEL_OF_LEVEL[level] in present
    )
    return RealCase(name=name, volume=volume, bodies=bodies, reader=reader, vertebrae=vertebrae)
