"""What kind of object it is: by SOP class, never by Modality (secondary captures and dose pages call themselves CT too)."""

from pydicom.uid import (
    CTImageStorage,
    EncapsulatedPDFStorage,
    EnhancedCTImageStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    LegacyConvertedEnhancedCTImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from trabecula_service.receive.header import ObjectHeader

OWN_MANUFACTURER = "trabecula"

_CT = frozenset({CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage})
_SR_ROOT = "1.2.840.10008.5.1.4.1.1.88."
_DERIVED = frozenset({SegmentationStorage, EncapsulatedPDFStorage, SecondaryCaptureImageStorage, GrayscaleSoftcopyPresentationStateStorage})


def is_ct(sop_class_uid: str) -> bool:
    """Whether the analysis may use it."""
    return sop_class_uid in _CT


def is_own_result(header: ObjectHeader) -> bool:
    """Whether it is a document of this product that came back, say by a rule of the PACS that forwards everything.

    Only the kinds of objects that we make, so that a CT of a phantom made by this product is still analysed.
    """
    derived = header.sop_class_uid in _DERIVED or header.sop_class_uid.startswith(_SR_ROOT)
    return derived and header.manufacturer.strip().lower().startswith(OWN_MANUFACTURER)
