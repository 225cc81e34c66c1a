"""The few header fields that filing an object needs, read without touching the pixels and bounded in time and memory."""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator, read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

_INFLATE_LIMIT_BYTES = 4 * 1024 * 1024
_LONGEST_TEXT = 256
_LONGEST_HEADER_BYTES = 64 * 1024 * 1024
"""Private elements before the series' UID can be large; a header that is longer than this is none."""

_WANTED = (
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "IssuerOfPatientID",
    "PatientName", "AccessionNumber", "StudyDate", "StudyDescription", "Manufacturer", "NumberOfStudyRelatedInstances",
)  # fmt: skip
_LAST_TAG = 0x00201208
"""NumberOfStudyRelatedInstances: the wanted element that comes last."""
_TAGS = {keyword: int(Tag(keyword)) for keyword in _WANTED}
_WANTED_TAGS: list[BaseTag | int] = list(_TAGS.values())
_SOP_INSTANCE, _STUDY, _SERIES = _TAGS["SOPInstanceUID"], _TAGS["StudyInstanceUID"], _TAGS["SeriesInstanceUID"]
_UID_CHARACTERS = frozenset("0123456789.\x00 ")
_SYNTAXES_THAT_NEED_MORE = (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
_BYTES_THAT_NEED_MORE = b"\\=\x1b"
"""Several values, parts of a name, another character set."""
_TEXT_VRS = (None, "UI", "LO", "SH", "PN", "DA", "CS", "IS")
"""None: implicit, so it is as the dictionary has it."""


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
    announced_objects: int | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The object cannot be filed, and why; without patient data."""

    reason: str


def read_header(encoded: bytes, transfer_syntax_uid: str) -> ObjectHeader | Unreadable:
    """Read the header of an encoded data set (without file meta information); never raises for its content, whatever it is."""
    return _read(encoded, transfer_syntax_uid, whole=True) or Unreadable("the data set is too long")


def read_beginning(head: bytes, transfer_syntax_uid: str, *, whole: bool) -> ObjectHeader | Unreadable | None:
    """The same of the beginning of a data set; None if this is not the ``whole`` of it and the header goes on behind."""
    return _read(head, transfer_syntax_uid, whole=whole)


def read_stored_header(path: Path, data_offset: int, transfer_syntax_uid: str) -> ObjectHeader | Unreadable:
    """The same of a stored file.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        file.seek(data_offset)
        return _read(file.read(_LONGEST_HEADER_BYTES), transfer_syntax_uid, whole=True) or Unreadable("the header is too long")


def _read(encoded: bytes, transfer_syntax_uid: str, *, whole: bool) -> ObjectHeader | Unreadable | None:
    return scan_header(encoded, transfer_syntax_uid) or parse_header(encoded, transfer_syntax_uid, whole=whole)


def parse_header(encoded: bytes, transfer_syntax_uid: str, *, whole: bool) -> ObjectHeader | Unreadable | None:
    """Read any header; None if these bytes are only a part of the data set (not ``whole``) and the header goes on behind them."""
    try:
        dataset, complete = _beginning(encoded, transfer_syntax_uid)
        if not (whole or complete):
            return None
        header = _header_from(lambda keyword: _value(dataset, keyword))
    # Any byte string can come in, and the parser raises many kinds of errors on them; each means the same to us.
    except Exception as error:
        return Unreadable(f"the data set cannot be parsed ({type(error).__name__})") if whole else None
    for name, value in (
        ("SOPInstanceUID", header.sop_instance_uid),
        ("StudyInstanceUID", header.study_instance_uid),
        ("SeriesInstanceUID", header.series_instance_uid),
    ):
        if not value:
            return Unreadable(f"the data set has no {name}")
    return header


def scan_header(encoded: bytes, transfer_syntax_uid: str) -> ObjectHeader | None:
    """Read a header of plain ASCII values, as nearly all are, without making a data set of it: in a seventh of the time.

    None where there is more to it, so that it must be parsed.
    """
    if transfer_syntax_uid in _SYNTAXES_THAT_NEED_MORE:
        return None
    beyond = False

    def stop(tag: int, _vr: str | None, _length: int) -> bool:
        nonlocal beyond
        beyond = tag > _LAST_TAG
        return beyond

    is_implicit = transfer_syntax_uid == ImplicitVRLittleEndian
    try:
        elements = data_element_generator(io.BytesIO(encoded), is_implicit, True, stop_when=stop, specific_tags=_WANTED_TAGS)
        texts = {int(element.tag): _plain_text(element.VR, element.value) for element in elements}
    # Whatever it is, parsing finds its name.
    except Exception:
        return None
    uids = [texts.get(tag, "") for tag in (_SOP_INSTANCE, _STUDY, _SERIES)]
    announced = texts.get(_LAST_TAG, "").strip("\x00 ")
    if not beyond or not all(uid and set(uid) <= _UID_CHARACTERS for uid in uids) or not (announced.isdecimal() or not announced):
        return None
    return _header_from(lambda keyword: texts.get(_TAGS[keyword], ""))


def _plain_text(vr: str | None, value: bytes | None) -> str:
    if vr not in _TEXT_VRS or (value and any(byte in value for byte in _BYTES_THAT_NEED_MORE)):
        raise ValueError("more than plain text")
    return value.decode("ascii") if value else ""


def _beginning(encoded: bytes, transfer_syntax_uid: str) -> tuple[Dataset, bool]:
    """The wanted elements, and whether the reading went beyond all of them."""
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        # A small file may inflate to any size, so only the beginning is inflated; the header is there.
        encoded = zlib.decompressobj(-zlib.MAX_WBITS).decompress(encoded, _INFLATE_LIMIT_BYTES)
    beyond = False

    def stop(tag: int, _vr: str | None, _length: int) -> bool:
        nonlocal beyond
        beyond = tag > _LAST_TAG
        return beyond

    dataset = read_dataset(
        io.BytesIO(encoded),
        is_implicit_VR=transfer_syntax_uid == ImplicitVRLittleEndian,
        is_little_endian=transfer_syntax_uid != ExplicitVRBigEndian,
        stop_when=stop,
        specific_tags=_WANTED_TAGS,
    )
    return dataset, beyond


def _header_from(value: Callable[[str], str]) -> ObjectHeader:
    def text(keyword: str) -> str:
        return value(keyword).strip("\x00 ")[:_LONGEST_TEXT]

    announced = text("NumberOfStudyRelatedInstances")
    return ObjectHeader(
        sop_class_uid=text("SOPClassUID"),
        sop_instance_uid=text("SOPInstanceUID"),
        study_instance_uid=text("StudyInstanceUID"),
        series_instance_uid=text("SeriesInstanceUID"),
        patient_id=text("PatientID"),
        issuer_of_patient_id=text("IssuerOfPatientID"),
        patient_name=text("PatientName"),
        accession_number=text("AccessionNumber"),
        study_date=text("StudyDate"),
        study_description=text("StudyDescription"),
        manufacturer=text("Manufacturer"),
        announced_objects=int(announced) if announced.isdecimal() and len(announced) < 9 else None,
    )


def _value(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value)
