"""A stand-in for the networks alone: masks and numbers of the synthetic column; reading, signing and rendering are the product's own.

Sent as ``column_series``, the images come back with real documents and the images of the reading room in a second or two.
"""

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from builders.results import Column, column_result
from trabecula_morphometry.volume import LabelVolume
from trabecula_service.dicom.read import read_input
from trabecula_service.pipeline.documents import write_documents
from trabecula_service.pipeline.request import AnalyzeOutcome, AnalyzeRequest, Progress
from trabecula_service.render.wording import headline
from trabecula_service.review.sign import sign_version

COLUMN = Column(names=("T12", "L1", "L2", "L3"), spacing_mm=(1.5, 1.5, 3.0), size_xy=(86, 107))


def column_series(study: int = 1, **elements: object) -> Iterator[Dataset]:
    """The column as CT slices; ``study`` makes another study of them."""
    hu = _volume()
    for index, header in enumerate(COLUMN.headers(**elements)):
        header.StudyInstanceUID = f"1.2.3.{study}"
        header.SeriesInstanceUID = f"1.2.3.{study}.1"
        header.FrameOfReferenceUID = f"1.2.3.{study}.9"
        header.SOPInstanceUID = f"1.2.3.{study}.1.{index + 1}"
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated = header.BitsStored = 16
        header.HighBit, header.PixelRepresentation = 15, 1
        header.RescaleIntercept, header.RescaleSlope, header.RescaleType = 0, 1, "HU"
        header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        header.KVP, header.ConvolutionKernel = 120, "B30f"
        header.PixelData = hu[index].astype("<i2").tobytes()
        header["PixelData"].VR = "OW"
        header.file_meta = FileMetaDataset()
        header.file_meta.MediaStorageSOPClassUID, header.file_meta.MediaStorageSOPInstanceUID = CTImageStorage, header.SOPInstanceUID
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        yield header


def _volume() -> np.ndarray:
    hu = np.array(COLUMN.volumes()[0].hu_zyx)
    return hu + np.random.default_rng(7).normal(0.0, 12.0, hu.shape).astype(np.int16)


def analyze(request: AnalyzeRequest, progress: Progress | None = None) -> AnalyzeOutcome:
    """Same signature as the real one."""
    report = progress or (lambda _stage, _share: None)
    if request.review is not None:
        return sign_version(request, request.review, report)
    image = read_input(request.input)
    _, bodies, posterior = COLUMN.volumes()
    grid = image.volume.grid
    result = column_result(COLUMN).model_copy(update={"source": image.source})
    same = (LabelVolume(labels_zyx=labels.resample(grid).labels_zyx, grid=grid) for labels in (bodies, posterior))
    result, files = write_documents(request, result, image, *same, report)
    return AnalyzeOutcome(exit_code=0, message=headline(result), result=result, files=files)
