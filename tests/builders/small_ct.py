"""Tiny CT series, as objects to send: enough for the service, which never looks at pixels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def small_ct(
    *,
    slices: int = 3,
    first: int = 0,
    study_uid: str | None = None,
    series_uid: str | None = None,
    description: str = "chest",
    **fields: str,
) -> list[Dataset]:
    """CT slices of 8 x 8 pixels, 1 mm apart; ``fields`` are set on each by keyword."""
    study, series = study_uid or generate_uid(), series_uid or generate_uid()
    return [_slice(study, series, number, description, fields) for number in range(first, first + slices)]


def _slice(study: str, series: str, number: int, description: str, fields: dict[str, str]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(number)])
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.Modality, dataset.SeriesDescription = "CT", description
    dataset.PatientName, dataset.PatientID, dataset.StudyDate = "Test^Patient", "4711", "20260102"
    dataset.StudyDescription, dataset.AccessionNumber = "CT abdomen", "A1"
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.Rows, dataset.Columns = [1, 1], 8, 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.PixelData = np.full((8, 8), number, np.int16).tobytes()
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    return dataset


def write_series(datasets: Sequence[Dataset], folder: Path) -> Path:
    """The slices as files, for programs that send files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(datasets):
        dataset.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
    return folder
