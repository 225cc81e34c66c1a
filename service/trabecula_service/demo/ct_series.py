"""Writing a digital patient as the CT series that a scanner would send."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from trabecula_morphometry.digital_patient import PatientOptions
from trabecula_morphometry.volume import Volume
from trabecula_service.render.uids import IMPLEMENTATION_CLASS_UID, uid_of

_INTERCEPT_HU = -1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoScanner:
    """The scanner that the digital patient lies in; the demo's calibration entry names the same one."""

    manufacturer: str = "Trabecula"
    model: str = "Digital Patient"
    device_serial: str = "DP-1"
    kernel: str = "SOFT"


def write_ct_series(
    volume: Volume, options: PatientOptions, folder: Path, *, made: datetime, scanner: DemoScanner | None = None
) -> list[Path]:
    """Write one file per slice (explicit VR little endian, 16 bits, intercept -1024), numbered from the head downwards.

    Parameters
    ----------
    volume : as ``make_digital_patient`` gives it; its grid may be turned as a whole.
    options : of the patient in the volume: age, sex and tube voltage go into the header.
    made : date and time of the study; the UIDs depend on it and on the options.
    """
    folder.mkdir(parents=True, exist_ok=True)
    common = _common(volume, options, made, scanner or DemoScanner())
    paths = []
    for number, k in enumerate(reversed(range(volume.grid.shape_zyx[0])), start=1):
        path = folder / f"CT{number:04d}.dcm"
        _slice(common, volume, k, number).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _common(volume: Volume, options: PatientOptions, made: datetime, scanner: DemoScanner) -> Dataset:
    study = uid_of("demo", repr(options), made.isoformat())
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = f"{made:%Y%m%d}"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = f"{made:%H%M%S}"
    ds.AccessionNumber, ds.Modality, ds.ReferringPhysicianName = "DEMO1", "CT", ""
    ds.Manufacturer, ds.ManufacturerModelName = scanner.manufacturer, scanner.model
    ds.DeviceSerialNumber, ds.SoftwareVersions, ds.InstitutionName = scanner.device_serial, "1", "Digital patients"
    ds.StudyDescription, ds.SeriesDescription, ds.ProtocolName = (
        "CT abdomen (digital patient)",
        f"Abdomen {volume.grid.slice_spacing_mm:g} mm",
        "Abdomen",
    )
    ds.PatientName, ds.PatientID = "Digital^Patient", f"DIGITAL-{options.seed}"
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "", options.sex, f"{options.age_years:03d}Y"
    ds.BodyPartExamined, ds.PatientPosition = "ABDOMEN", "HFS"
    ds.KVP, ds.ConvolutionKernel = options.tube_voltage_kvp, scanner.kernel
    ds.SliceThickness = ds.SpacingBetweenSlices = f"{volume.grid.slice_spacing_mm:g}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, uid_of(study, "series"), uid_of(study, "frame")
    ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber, ds.PositionReferenceIndicator = "1", 2, 1, ""
    x_mm, y_mm, _ = (float(step) for step in volume.grid.spacing_xyz_mm)
    row, column = (volume.grid.voxel_to_lps[:3, axis] / volume.grid.spacing_xyz_mm[axis] for axis in (0, 1))
    ds.ImageOrientationPatient = [f"{cosine:.8f}" for cosine in (*row, *column)]
    ds.PixelSpacing = [f"{y_mm:g}", f"{x_mm:g}"]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    _, ds.Rows, ds.Columns = volume.grid.shape_zyx
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = _INTERCEPT_HU, 1, "HU"
    ds.WindowCenter, ds.WindowWidth = 50, 400
    return ds


def _slice(common: Dataset, volume: Volume, k: int, number: int) -> Dataset:
    ds = Dataset(common)
    ds.SOPInstanceUID = uid_of(str(common.SeriesInstanceUID), str(number))
    position = volume.grid.to_lps((0, 0, k))
    ds.InstanceNumber = number
    ds.ImagePositionPatient, ds.SliceLocation = [f"{v:.3f}" for v in position], f"{position[2]:.3f}"
    stored = np.clip(volume.hu_zyx[k].astype(np.int32) - _INTERCEPT_HU, 0, 4095).astype("<u2")
    ds.PixelData = stored.tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = CTImageStorage, UID(str(ds.SOPInstanceUID))
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID, ds.file_meta.ImplementationVersionName = UID(IMPLEMENTATION_CLASS_UID), "TRABECULA"
    return ds
