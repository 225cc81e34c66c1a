"""Tells which DICOM objects can hold a CT volume in Hounsfield units, and why the others cannot (pure).

The SOP class decides, not the modality: dose pages and exam summaries are Secondary Captures with Modality CT.
"""

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from trabecula_morphometry.codes import Code
from trabecula_service.dicom import header as tags

CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)

_NO_VOLUME = {
    "LOCALIZER": "a localizer",
    "SCOUT": "a localizer",
    "TOMO": "a tomosynthesis",
    "PERFUSION": "a perfusion map",
    "RCBF": "a perfusion map",
    "RCBV": "a perfusion map",
    "RMTT": "a perfusion map",
    "MIP": "a projection",
    "MINIP": "a projection",
    "MAX_IP": "a projection",
    "MIN_IP": "a projection",
    "PROJECTION IMAGE": "a projection",
    "VOLUME RENDER": "a rendering",
    "VRT": "a rendering",
    "3D": "a rendering",
    "SCREEN SAVE": "a screen capture",
    "DOSE_INFO": "a dose page",
    "DOSEINFO": "a dose page",
}
"""Values of ImageType (beyond the first two) that are no stack of slices (PS3.3 C.8.2.1.1.1, C.8.16.1.4, and makers' own)."""

_NOT_HU_TYPES = {
    "MAT_SPECIFIC": "a material map",
    "MAT_FRACTIONAL": "a material map",
    "MAT_VALUE_BASED": "a material map",
    "MAT_REMOVED": "an image with a material removed",
    "MAT_MODIFIED": "an image with a material changed",
    "EFF_ATOMIC_NUM": "an effective atomic number map",
    "ELECTRON_DENSITY": "an electron density map",
}
"""Multi-energy image types whose values are no attenuation of the patient as scanned (PS3.3 C.8.15.2, Supplement 188)."""

_HU_RESCALE_TYPES = ("", "HU", "US")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why images cannot be measured."""

    code: Code
    detail: str


def sop_class_of(header: Dataset) -> str:
    """SOP class UID of the data set, or of the file meta information where the data set lacks it; empty where neither has it."""
    return tags.uid(header, "SOPClassUID", "MediaStorageSOPClassUID")


def why_no_volume(header: Dataset) -> Refusal | None:
    """Why an image is not part of a CT volume in HU, or None where it may be."""
    sop_class, modality = sop_class_of(header), tags.text(header, "Modality")
    if sop_class and sop_class not in CT_CLASSES:
        name = UID(sop_class).name
        return Refusal(Code.NOT_CT, name if name != sop_class else "a private or unknown kind of object")
    if modality != "CT" and (modality or not sop_class):
        return Refusal(Code.NOT_CT, f"modality {modality[:16]}" if modality.isalnum() else "an object without modality")
    if not sop_class and "Rows" not in header:
        return Refusal(Code.NOT_CT, "an object without image")
    image_type = [value.upper() for value in tags.texts(header, "ImageType")]
    for value in image_type[2:]:
        if value in _NO_VOLUME:
            return Refusal(Code.NOT_CT, _NO_VOLUME[value])
    if (tags.integer(header, "SamplesPerPixel") or 1) != 1:
        return Refusal(Code.NOT_CT, "a colour image")
    for value in image_type[2:]:
        if value in _NOT_HU_TYPES:
            return Refusal(Code.HU_IMPLAUSIBLE, f"This is {_NOT_HU_TYPES[value]}.")
    rescale_type = tags.text(header, "RescaleType").upper()
    if rescale_type not in _HU_RESCALE_TYPES:
        return Refusal(Code.HU_IMPLAUSIBLE, f"The rescale type is {rescale_type[:16]}, not HU.")
    return None


def is_monoenergetic(header: Dataset) -> bool:
    """Whether this is a virtual monoenergetic image: its HU follow the chosen energy, not the tube voltage."""
    image_type = [value.upper() for value in tags.texts(header, "ImageType")]
    return "VMI" in image_type[2:] or tags.number(header, "MonoenergeticEnergyEquivalent") is not None
