"""DICOM Secondary Capture: the overview picture with its numbers burnt in, for viewers that show nothing else."""

import numpy as np
from pydicom.uid import SecondaryCaptureImageStorage

from trabecula_service.render.derived_object import ObjectKind, new_object, to_bytes
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.overview import overview_picture

CAPTURE_KIND = ObjectKind(
    key="capture", sop_class_uid=str(SecondaryCaptureImageStorage), modality="OT", series_label="capture", series_number_offset=3
)


def capture_sc_dcm(document_input: DocumentInput) -> bytes:
    """``capture.sc.dcm``: one RGB image. It holds no patient identity in its pixels."""
    pixels = np.asarray(overview_picture(document_input).convert("RGB"))
    dataset = new_object(document_input, CAPTURE_KIND)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ConversionType = "WSD"
    dataset.PatientOrientation = ""
    dataset.BodyPartExamined = "SPINE"
    dataset.BurnedInAnnotation = "YES"
    dataset.RecognizableVisualFeatures = "NO"
    dataset.LossyImageCompression = "00"
    dataset.DerivationDescription = "Curved reformats with automatic measurements"
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    return to_bytes(dataset)
