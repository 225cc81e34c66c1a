"""Builds valid synthetic CT series: a digital body is sampled at the places that the header names.

The body is a function of LPS millimetres, so series of any orientation, tilt or order show the same patient, and a test may ask
for the HU that must lie at a point.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

Body = Callable[[NDArray[np.float64]], NDArray[np.float64]]

ORIENTATIONS: dict[str, tuple[float, ...]] = {
    "axial": (1, 0, 0, 0, 1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
}


def body_hu(points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """HU of a plain digital torso (..., 3) -> (...): air, fat rim, soft tissue, a bony column with discs; no two places look alike."""
    x, y, z = np.moveaxis(np.asarray(points_lps_mm, dtype=np.float64), -1, 0)
    radius = np.hypot(x / 48.0, y / 36.0)
    hu = np.full(radius.shape, -1000.0)
    hu[radius < 1.0] = -100.0
    soft = radius < 0.85
    hu[soft] = 40.0 + 0.2 * x[soft] + 0.1 * z[soft]
    column = (np.hypot(x, y - 12.0) < 10.0) & soft
    hu[column] = np.where(np.mod(z[column], 30.0) < 24.0, 180.0, 70.0) + 0.3 * y[column]
    hu[(np.hypot(x - 20.0, y + 10.0) < 5.0)] = -950.0
    return hu


@dataclass(frozen=True, kw_only=True, eq=False)
class CtSeries:
    """Data sets of one or more series, in slice order, with what must be read from them.

    ``hu_zyx`` and ``voxel_to_lps`` describe the slices before any was left out.
    """

    datasets: tuple[Dataset, ...]
    hu_zyx: NDArray[np.int16]
    voxel_to_lps: NDArray[np.float64]

    def __add__(self, other: "CtSeries") -> "CtSeries":
        """Both sets of images in one input."""
        return replace(self, datasets=self.datasets + other.datasets)

    @property
    def series_uid(self) -> str:
        return str(self.datasets[0].SeriesInstanceUID)

    def write(self, folder: Path, *, order: Sequence[int] | None = None) -> list[Path]:
        """Write one file per image; ``order`` permutes which image gets which file name."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, index in enumerate(order if order is not None else range(len(self.datasets))):
            path = folder / f"IM{name:04d}.dcm"
            self.datasets[index].save_as(path, enforce_file_format=True)
            paths.append(path)
        return paths

    def with_tags(self, **values: Any) -> "CtSeries":
        """A copy in which every image has these elements; ``None`` deletes one."""
        changed = []
        for dataset in self.datasets:
            copy = Dataset(dataset)
            copy.file_meta = dataset.file_meta
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # values that break the standard are wanted
                for keyword, value in values.items():
                    if value is None:
                        copy.pop(keyword, None)
                    else:
                        setattr(copy, keyword, value)
            changed.append(copy)
        return replace(self, datasets=tuple(changed))


def _uid(*names: object) -> str:
    return generate_uid(prefix="1.2.826.0.1.3680043.8.498.", entropy_srcs=["/".join(map(str, names))])


def _oriented(
    orientation: str | Sequence[float], tilt_deg: float, flip_rows: bool, flip_columns: bool
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Row direction, column direction and table direction of a series."""
    cosines = np.array(ORIENTATIONS[orientation] if isinstance(orientation, str) else orientation, dtype=np.float64)
    row, column = cosines[:3], cosines[3:]
    table = np.cross(row, column)
    if tilt_deg:  # The gantry turns about the row axis while the table keeps its direction.
        angle = np.deg2rad(tilt_deg)
        column = np.cos(angle) * column + np.sin(angle) * table
    return (-row if flip_columns else row), (-column if flip_rows else column), table


def ct_series(
    *,
    shape_zyx: tuple[int, int, int] = (20, 64, 72),
    spacing_mm: tuple[float, float, float] = (2.5, 1.5, 1.5),
    center_lps_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    body: Body = body_hu,
    hu_zyx: NDArray[Any] | None = None,
    orientation: str | Sequence[float] = "axial",
    feet_first: bool = False,
    flip_rows: bool = False,
    flip_columns: bool = False,
    tilt_deg: float = 0.0,
    missing: Iterable[int] = (),
    duplicates: Iterable[int] = (),
    duplicates_new_uid: bool = False,
    rescale: tuple[float, float] | Sequence[tuple[float, float]] = (1.0, -1024.0),
    signed: bool = True,
    bits_stored: int = 16,
    padding_stored: int | None = None,
    padding_tag: bool = True,
    transfer_syntax: str = ExplicitVRLittleEndian,
    patient: str = "P1",
    study: str = "study",
    series: str = "series",
    series_number: int = 2,
    acquisition_number: int | None = 1,
    acquisition_time: str = "101500",
    first_instance: int = 1,
    image_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "AXIAL"),
    manufacturer: str = "Builder",
    model: str = "Model 1",
    device_serial: str = "0001",
    kvp: float | None = 120,
    kernel: str | Sequence[str] | None = "STANDARD",
    slice_thickness_mm: float | None = None,
    age: str | None = "063Y",
    sex: str | None = "F",
    contrast_agent: str | None = None,
) -> CtSeries:
    """A CT series of a digital body.

    Parameters
    ----------
    shape_zyx, spacing_mm : slices, rows, columns, and the distances between them (slice step, row spacing, column spacing).
    center_lps_mm : middle of the volume.
    body : HU at LPS points (..., 3); ``hu_zyx`` gives the HU of the voxels instead.
    orientation : "axial", "sagittal", "coronal" or six cosines; ``flip_rows``/``flip_columns`` store the same body upside down or mirrored.
    feet_first : PatientPosition FFS, instance numbers run against the slice order.
    tilt_deg : gantry tilt: the planes turn, the table direction does not.
    missing, duplicates : indices of slices that are left out, or written twice (with the same SOP instance UID or a new one).
    rescale : slope and intercept of all slices, or one pair per slice.
    padding_stored : stored value outside the reconstruction circle (the inscribed circle of the matrix).
    """
    depth, height, width = shape_zyx if hu_zyx is None else hu_zyx.shape
    step_z, step_y, step_x = spacing_mm
    row, column, table = _oriented(orientation, tilt_deg, flip_rows, flip_columns)
    matrix = np.eye(4)
    matrix[:3, :3] = np.column_stack([row * step_x, column * step_y, table * step_z])
    matrix[:3, 3] = np.array(center_lps_mm) - matrix[:3, :3] @ (np.array([width, height, depth]) - 1) / 2
    if hu_zyx is None:
        voxels = np.stack(np.meshgrid(np.arange(depth), np.arange(height), np.arange(width), indexing="ij")[::-1], axis=-1)
        hu_zyx = np.rint(body(voxels @ matrix[:3, :3].T + matrix[:3, 3]))
    hu_zyx = np.asarray(hu_zyx, dtype=np.int16)
    pairs = [rescale] * depth if np.isscalar(rescale[0]) else list(rescale)
    across, down = ((np.arange(size) - (size - 1) / 2) / (size / 2) for size in (width, height))
    outside = np.hypot(*np.meshgrid(across, down)) > 1.0
    left_out, twice = set(missing), set(duplicates)
    datasets: list[Dataset] = []
    for k in range(depth):
        if k in left_out:
            continue
        slope, intercept = pairs[k]
        stored = np.rint((hu_zyx[k].astype(np.float64) - intercept) / slope)
        if padding_stored is not None:
            stored[outside] = padding_stored
        kind = np.int16 if signed else np.uint16
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.Modality = CTImageStorage, "CT"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid(study), _uid(study, series)
        dataset.FrameOfReferenceUID = _uid(study, "frame")
        dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber, dataset.StudyID = "20240502", "101000", "", "1"
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Marked^Secret", patient, "", sex or ""
        if age is not None:
            dataset.PatientAge = age
        dataset.ReferringPhysicianName = ""
        dataset.ImageType = list(image_type)
        dataset.Manufacturer, dataset.ManufacturerModelName, dataset.DeviceSerialNumber = manufacturer, model, device_serial
        dataset.KVP = kvp
        if kernel is not None:
            dataset.ConvolutionKernel = kernel if isinstance(kernel, str) else list(kernel)
        dataset.SliceThickness = slice_thickness_mm if slice_thickness_mm is not None else step_z
        dataset.SeriesNumber, dataset.AcquisitionNumber = series_number, acquisition_number
        dataset.AcquisitionDate, dataset.AcquisitionTime = "20240502", acquisition_time
        dataset.InstanceNumber = first_instance + (depth - 1 - k if feet_first else k)
        dataset.PatientPosition = "FFS" if feet_first else "HFS"
        if contrast_agent is not None:
            dataset.ContrastBolusAgent = contrast_agent
        position = matrix[:3, 3] + k * matrix[:3, 2]
        dataset.ImagePositionPatient = [f"{v:.9f}"[:16] for v in position]
        dataset.ImageOrientationPatient = [f"{v:.10f}"[:16] for v in (*row, *column)]
        dataset.PixelSpacing = [step_y, step_x]
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = slope, intercept, "HU"
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = height, width
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits_stored, bits_stored - 1
        dataset.PixelRepresentation = int(signed)
        if padding_stored is not None and padding_tag:
            dataset.add_new("PixelPaddingValue", "SS" if signed else "US", padding_stored)
        pixels = stored.astype(np.int64).astype(kind)
        for copy in range(2 if k in twice else 1):
            image = Dataset(dataset)
            image.file_meta = FileMetaDataset(dataset.file_meta)
            image.SOPInstanceUID = _uid(study, series, acquisition_number, k, first_instance, copy if duplicates_new_uid else 0)
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            _set_pixels(image, pixels, transfer_syntax)
            datasets.append(image)
    return CtSeries(datasets=tuple(datasets), hu_zyx=hu_zyx, voxel_to_lps=matrix)


def _set_pixels(image: Dataset, pixels: NDArray[Any], transfer_syntax: str) -> None:
    if transfer_syntax == ExplicitVRBigEndian:
        image.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    else:
        image.PixelData = pixels.tobytes()
    image["PixelData"].VR = "OW"
    if transfer_syntax in (JPEGLossless, JPEGLosslessSV1, HTJ2KLossless):
        _encode_with_imagecodecs(image, pixels, transfer_syntax)
    elif UID(transfer_syntax).is_encapsulated:
        if transfer_syntax == RLELossless:
            image.compress(transfer_syntax, pixels, encoding_plugin="pydicom", generate_instance_uid=False)
        else:
            image.compress(transfer_syntax, pixels, generate_instance_uid=False)
    else:
        image.file_meta.TransferSyntaxUID = transfer_syntax


def _encode_with_imagecodecs(image: Dataset, pixels: NDArray[Any], transfer_syntax: str) -> None:
    """Syntaxes that pydicom cannot write; needs the extra ``jpeg``."""
    imagecodecs = pytest.importorskip("imagecodecs", reason="the extra trabecula[jpeg] is not installed")
    if transfer_syntax == HTJ2KLossless:
        encoded = imagecodecs.htj2k_encode(pixels, reversible=True)
    else:
        encoded = imagecodecs.ljpeg_encode(pixels.view(np.uint16), bitspersample=16)
    image.PixelData = encapsulate([bytes(encoded)])
    image["PixelData"].is_undefined_length = True
    image["PixelData"].VR = "OB"
    image.file_meta.TransferSyntaxUID = transfer_syntax


def as_enhanced(
    series: CtSeries, *, sop_class: str = EnhancedCTImageStorage, frame_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")
) -> CtSeries:
    """The same slices as one multi-frame object, geometry and rescale only in the functional groups."""
    first = series.datasets[0]
    image = Dataset(first)
    image.file_meta = FileMetaDataset(first.file_meta)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = sop_class
    image.ImageType = list(frame_type)
    image.NumberOfFrames = len(series.datasets)
    image.PixelData = b"".join(dataset.PixelData for dataset in series.datasets)
    frames = []
    for dataset in series.datasets:
        frame, position, orientation, measures, values, kind = (Dataset() for _ in range(6))
        position.ImagePositionPatient = dataset.ImagePositionPatient
        orientation.ImageOrientationPatient = dataset.ImageOrientationPatient
        measures.PixelSpacing, measures.SliceThickness = dataset.PixelSpacing, dataset.SliceThickness
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = dataset.RescaleSlope, dataset.RescaleIntercept, "HU"
        kind.FrameType = list(frame_type)
        frame.PlanePositionSequence = DicomSequence([position])
        frame.PlaneOrientationSequence = DicomSequence([orientation])
        frame.PixelMeasuresSequence = DicomSequence([measures])
        frame.PixelValueTransformationSequence = DicomSequence([values])
        frame.CTImageFrameTypeSequence = DicomSequence([kind])
        frames.append(frame)
    image.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    image.SharedFunctionalGroupsSequence = DicomSequence([Dataset()])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept", "RescaleType"):
        del image[keyword]
    return replace(series, datasets=(image,))
