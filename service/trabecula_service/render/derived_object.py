"""What all derived DICOM objects share: the patient and study as in the source, our series, equipment, marks, dates and UIDs."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom import dcmwrite
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from trabecula_service.render.dicom_codes import PROCESSING_EQUIPMENT, ascii_text, coding_scheme_identification
from trabecula_service.render.document_input import DocumentInput, RenderError
from trabecula_service.render.shared_parts import once_per_input
from trabecula_service.render.uids import IMPLEMENTATION_CLASS_UID, derived_uid, frame_of_reference_uid

MANUFACTURER = "Trabecula"
MODEL_NAME = "Trabecula"
ALGORITHM_NAME = "Trabecula BMD/VF"
NOT_FOR_DIAGNOSIS = "not for primary diagnosis"

MUST_EXIST = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
"""Type 2 in every object that we make: empty where the source lacks them, never invented."""

_COPIED = (
    *MUST_EXIST,
    "StudyInstanceUID",
    # Patient module (PS3.3 C.7.1.1)
    "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID", "PatientBirthTime", "OtherPatientIDs",
    "OtherPatientIDsSequence", "OtherPatientNames", "EthnicGroup", "PatientComments", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    # General Study module (C.7.2.1)
    "StudyDescription", "PhysiciansOfRecord", "IssuerOfAccessionNumberSequence", "ReferencedStudySequence", "ProcedureCodeSequence",
    # Patient Study module (C.7.2.2)
    "PatientAge", "PatientSize", "PatientWeight", "AdmittingDiagnosesDescription", "MedicalAlerts", "PregnancyStatus",
    # SOP Common: local times of the study's dates
    "TimezoneOffsetFromUTC",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectKind:
    """One kind of derived object: how its series is called and numbered."""

    key: str
    sop_class_uid: str
    modality: str
    series_label: str
    series_number_offset: int


_FIRST_SERIES_NUMBER = 99_000
"""Far above the numbers that scanners give, so that our series stand last and collide with none."""


def can_be_referenced(headers: Sequence[Dataset]) -> bool:
    """Whether derived objects can name these images: study, series and instance UIDs are there."""
    needed = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
    return bool(headers) and all(header.get(keyword) for header in headers for keyword in needed)


@once_per_input
def has_references(document_input: DocumentInput) -> bool:
    """Whether derived objects can name the images of this input."""
    return can_be_referenced(document_input.image.headers)


def require_headers(document_input: DocumentInput) -> Dataset:
    """The header of the first slice; refuses input that derived objects cannot name."""
    if not has_references(document_input):
        raise RenderError(
            "no DICOM object can be derived from images without study, series and instance UIDs",
            where=str(document_input.result.source.series_instance_uid or "input without UIDs"),
            hint="send the series with its UIDs, or use the PDF",
        )
    return document_input.image.headers[0]


def frame_of_reference_of(document_input: DocumentInput) -> str:
    """The frame of reference that all derived objects of this series share."""
    header = require_headers(document_input)
    return frame_of_reference_uid(str(header.SeriesInstanceUID), str(header.get("FrameOfReferenceUID") or "") or None)


def series_description(kind: ObjectKind) -> str:
    """Description of the series, with the mark that IHE and the reader look for."""
    return f"trabecula AI BMD/VF {kind.series_label} - {NOT_FOR_DIAGNOSIS}"


def series_number(kind: ObjectKind) -> int:
    """Own number of the series within the study."""
    return _FIRST_SERIES_NUMBER + kind.series_number_offset


def software_versions(document_input: DocumentInput) -> str:
    """Version of the software that measured."""
    return ascii_text(document_input.result.software.version) or "unknown"


def new_object(document_input: DocumentInput, kind: ObjectKind) -> Dataset:
    """An empty object of a kind, for documents that are not built by highdicom; ``finish`` completes it."""
    require_headers(document_input)
    dataset = Dataset()
    dataset.InstanceNumber = 1
    return finish(dataset, document_input, kind)


def finish(dataset: Dataset, document_input: DocumentInput, kind: ObjectKind) -> Dataset:
    """Write the shared modules into an object: identity of the source, our series, equipment and marks, dates of the result."""
    _copy_identity(require_headers(document_input), dataset)
    created = document_input.created
    dataset.SOPClassUID = kind.sop_class_uid
    dataset.SOPInstanceUID = derived_uid(document_input, f"{kind.key}/instance")
    dataset.SeriesInstanceUID = derived_uid(document_input, f"{kind.key}/series")
    dataset.SeriesNumber = series_number(kind)
    dataset.SeriesDescription = series_description(kind)
    dataset.Modality = kind.modality
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = MODEL_NAME
    dataset.SoftwareVersions = software_versions(document_input)
    dataset.DeviceSerialNumber = ascii_text(document_input.result.software.weights_sha256[:16]) or "unknown"
    for keyword in ("InstanceCreationDate", "SeriesDate", "ContentDate"):
        setattr(dataset, keyword, f"{created:%Y%m%d}")
    for keyword in ("InstanceCreationTime", "SeriesTime", "ContentTime"):
        setattr(dataset, keyword, f"{created:%H%M%S}")
    dataset.ContributingEquipmentSequence = DicomSequence([_contribution(document_input, created)])
    dataset.CodingSchemeIdentificationSequence = DicomSequence([_plain(coding_scheme_identification())])
    return dataset


def to_bytes(dataset: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    """The object as a DICOM file, explicit little endian; identical data sets give identical bytes.

    ``transfer_syntax_uid`` names how the pixels of the data set are encoded already.
    """
    correct_ambiguous_vr(dataset, True)
    # Copied identity elements are still raw: declaring the encoding as the original one makes pydicom write them as they are
    # instead of decoding names and encoding them again, which is not the same bytes in every character set.
    dataset.set_original_encoding(False, True, dataset._character_set)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset.file_meta.ImplementationVersionName = "TRABECULA"
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


def _copy_identity(source: Dataset, target: Dataset) -> None:
    for keyword in ("SpecificCharacterSet", *_COPIED):
        tag = tag_for_keyword(keyword)
        if tag is None:  # pragma: no cover - all keywords are of the dictionary
            continue
        if keyword in target:
            del target[tag]
        if tag in source and (not keyword.endswith("CodeSequence") or _is_coded(source[tag])):
            target[tag] = _copied_element(source, tag)
        elif keyword in MUST_EXIST:
            target[tag] = DataElement(tag, dictionary_VR(tag), None)


def _is_coded(element: DataElement) -> bool:
    """Whether every item is a whole code (PS3.3 8.8); de-identified series have items that lost their scheme, which no reader can use."""

    def whole(item: Dataset) -> bool:
        in_scheme = (item.get("CodeValue") or item.get("LongCodeValue")) and item.get("CodingSchemeDesignator")
        return bool(item.get("CodeMeaning") and (in_scheme or item.get("URNCodeValue")))

    return all(whole(item) for item in element.value)


def _copied_element(source: Dataset, tag: int) -> DataElement | RawDataElement:
    element = source.get_item(tag)
    if isinstance(element, RawDataElement) and dictionary_VR(tag) not in ("SQ", "US") and isinstance(element.value, bytes):
        return element._replace(VR=dictionary_VR(tag), is_implicit_VR=False, is_little_endian=True)
    return deepcopy(source[tag])


def _contribution(document_input: DocumentInput, created: datetime) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = DicomSequence([_plain(PROCESSING_EQUIPMENT)])
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = MODEL_NAME
    item.SoftwareVersions = software_versions(document_input)
    item.ContributionDateTime = f"{created:%Y%m%d%H%M%S%z}"
    standing = "verified by a reader" if document_input.result.signature else "unverified"
    item.ContributionDescription = f"Automatic reading of vertebral density and height, {standing}"
    return item


def _plain(item: Dataset | CodingSchemeIdentificationItem) -> Dataset:
    """A plain data set with the elements of a highdicom one."""
    plain = Dataset()
    plain.update({element.tag: element for element in item})
    return plain
