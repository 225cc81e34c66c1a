"""The few header fields that filing an object needs, read without touching the pixels and bounded in time and memory."""

import io
import zlib
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

_INFLATE_LIMIT_BYTES = 4 * 1024 * 1024
_LONGEST_TEXT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectHeader:
    """What filing needs to know; texts are empty where the header has none."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    study_date: str = ""
    study_description: str = ""
    manufacturer: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The object cannot be filed, and why; without patient data."""

    reason: str


def read_header(encoded: bytes, transfer_syntax_uid: str) -> ObjectHeader | Unreadable:
    """Read the header of an encoded data set (without file meta information); never raises for its content, whatever it is."""
    try:
        header = _header_from(_beginning(encoded, transfer_syntax_uid))
    # Any byte string can come in, and the parser raises many kinds of errors on them; each means the same to us.
    except Exception as error:
        return Unreadable(f"the data set cannot be parsed ({type(error).__name__})")
    for name, value in (
        ("SOPInstanceUID", header.sop_instance_uid),
        ("StudyInstanceUID", header.study_instance_uid),
        ("SeriesInstanceUID", header.series_instance_uid),
    ):
        if not value:
            return Unreadable(f"the data set has no {name}")
    return header


def _beginning(encoded: bytes, transfer_syntax_uid: str) -> Dataset:
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        # A small file may inflate to any size, so only the beginning is inflated; the header is there.
        encoded = zlib.decompressobj(-zlib.MAX_WBITS).decompress(encoded, _INFLATE_LIMIT_BYTES)
    return read_dataset(
        io.BytesIO(encoded),
        is_implicit_VR=transfer_syntax_uid == ImplicitVRLittleEndian,
        is_little_endian=transfer_syntax_uid != ExplicitVRBigEndian,
        stop_when=_beyond_series,
    )


def _beyond_series(tag: int, _vr: str | None, _length: int) -> bool:
    return tag > 0x0020000E


def _header_from(dataset: Dataset) -> ObjectHeader:
    return ObjectHeader(
        sop_class_uid=_text(dataset, "SOPClassUID"),
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        study_instance_uid=_text(dataset, "StudyInstanceUID"),
        series_instance_uid=_text(dataset, "SeriesInstanceUID"),
        patient_id=_text(dataset, "PatientID"),
        issuer_of_patient_id=_text(dataset, "IssuerOfPatientID"),
        patient_name=_text(dataset, "PatientName"),
        accession_number=_text(dataset, "AccessionNumber"),
        study_date=_text(dataset, "StudyDate"),
        study_description=_text(dataset, "StudyDescription"),
        manufacturer=_text(dataset, "Manufacturer"),
    )


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip("\x00 ")[:_LONGEST_TEXT]
