"""HL7 v2.5.1 ORU^R01: the numbers as OBX segments, preliminary until a reader signs.

Codes are those of the DICOM report (scheme 99TRABECULA), units UCUM, OBX-4 is the vertebral level, OBX-11 ``P``. Character set UTF-8.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence

from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset

from trabecula_service.render import dicom_codes as concepts
from trabecula_service.render import wording
from trabecula_service.render.derived_object import require_headers
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.pdf_report import report_pdf
from trabecula_service.render.phrases import flag_text, phrase
from trabecula_service.render.quantities import Answer, Item, Quantity, level_items, study_items
from trabecula_service.render.uids import derived_uid

_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
_PRELIMINARY = "P"
_STATUS_OF_VERDICT = {"accepted": "F", "amended": "C", "rejected": "X"}
"""Final, corrected, no result: tables 0085 and 0123."""
_TEXT = concepts.own_code("STATEMENT", "Statement of the report")
_PDF = concepts.own_code("REPORT_PDF", "Report as PDF")


def can_be_filed(document_input: DocumentInput) -> bool:
    """Whether a receiver could know whose result it is: PID-3 is required, and we invent no patient ID."""
    headers = document_input.image.headers
    return bool(headers) and bool(str(headers[0].get("PatientID") or "").strip())


def report_oru(document_input: DocumentInput) -> bytes:
    """``report.oru.hl7``: numbers, coded answers and sentences."""
    return _message(document_input, with_pdf=False)


def report_oru_pdf(document_input: DocumentInput) -> bytes:
    """``report-pdf.oru.hl7``: the same message with the PDF in a last OBX (ED, Base64)."""
    return _message(document_input, with_pdf=True)


def escaped(text: str) -> str:
    """Text as one HL7 component: delimiters as escape sequences (chapter 2.7), line breaks as ``\\.br\\``, other control signs dropped."""
    out = []
    for sign in text.replace("\r\n", "\n").replace("\r", "\n"):
        if sign == "\n":
            out.append("\\.br\\")
        elif sign.isprintable() or sign == "\u3000":
            out.append(_ESCAPES.get(sign, sign))
    return "".join(out)


def _message(document_input: DocumentInput, *, with_pdf: bool) -> bytes:
    header = require_headers(document_input)
    stamp = f"{document_input.created:%Y%m%d%H%M%S%z}"
    # MSH-10 holds 20 signs; one content always has one control id, so a repeated delivery is known as such.
    control_id = hashlib.sha256(derived_uid(document_input, f"oru/{with_pdf}").encode()).hexdigest()[:20]
    segments = [
        f"MSH|^~\\&|TRABECULA||||{stamp}||ORU^R01^ORU_R01|{control_id}|P|2.5.1|||AL|NE||UNICODE UTF-8",
        _patient(header),
        "PV1|1|U",
        "ORC|RE||" + escaped(str(header.get("AccessionNumber") or "")),
        _request(document_input, header, stamp),
    ]
    status = _status(document_input)
    segments += [
        f"OBX|{number}|{_with_status(rest, status)}" for number, rest in enumerate(_observations(document_input, stamp, with_pdf), start=1)
    ]
    return ("\r".join(segments) + "\r").encode("utf-8")


def _patient(header: Dataset) -> str:
    identifier = "^".join((escaped(str(header.get("PatientID") or "")), "", "", escaped(str(header.get("IssuerOfPatientID") or ""))))
    names = _names(str(header.get("PatientName") or ""))
    born, sex = str(header.get("PatientBirthDate") or ""), str(header.get("PatientSex") or "")
    return f"PID|1||{identifier.rstrip('^')}||{names}||{escaped(born)}|{escaped(sex)}"


def _names(person: str) -> str:
    """A DICOM person name as XPN repetitions; HL7 has suffix before prefix, and says in XPN.8 which script a repetition is in."""
    found = []
    for group, representation in zip(person.split("="), ("A", "I", "P"), strict=False):
        family, given, middle, prefix, suffix = ([escaped(part) for part in group.split("^")] + [""] * 5)[:5]
        if group.strip("^ "):
            found.append("^".join((family, given, middle, suffix, prefix, "", "", representation)))
    # PID-5 is required: without a name it says that the name is of unspecified type (table 0200), and invents none.
    return "~".join(found) or "^^^^^^U"


def _request(document_input: DocumentInput, header: Dataset, stamp: str) -> str:
    accession = escaped(str(header.get("AccessionNumber") or ""))
    acquired = escaped(f"{header.get('StudyDate') or ''}{str(header.get('StudyTime') or '').split('.')[0]}")
    fields = [""] * 26
    fields[1], fields[3], fields[4], fields[7] = "1", accession, _coded(concepts.CT_OF_SPINE_REPORTED), acquired
    fields[18], fields[22], fields[24], fields[25] = accession, stamp, "CT", _status(document_input)
    fields[20] = escaped(document_input.result.source.study_instance_uid or "")
    return "OBR" + "|".join(fields)


def _observations(document_input: DocumentInput, stamp: str, with_pdf: bool) -> Iterator[str]:
    result = document_input.result
    for item in (*study_items(result), *(item for level in result.levels for item in level_items(result, level))):
        yield _observation(item, stamp)
    for text in _sentences(document_input):
        yield _obx("TX", _coded(_TEXT), "", escaped(text), stamp=stamp)
    if with_pdf:
        data = base64.b64encode(report_pdf(document_input)).decode("ascii")
        yield _obx("ED", _coded(_PDF), "", f"TRABECULA^application^pdf^Base64^{data}", stamp=stamp)


def _sentences(document_input: DocumentInput) -> Sequence[str]:
    language, result = document_input.language, document_input.result
    said = [f"{wording.standing(result, language)}. {wording.headline(result, language)}", *wording.statements(result, language)]
    said += [f"{item.level + ': ' if item.level else ''}{item.code}: {flag_text(language, item)}" for item in result.flags]
    return [*said, *wording.advice(result, language), phrase(language, "limits")]


def _status(document_input: DocumentInput) -> str:
    signed = document_input.result.signature
    return _STATUS_OF_VERDICT[signed.verdict] if signed else _PRELIMINARY


def _with_status(observation: str, status: str) -> str:
    """An observation whose field 11 says how it stands; its fields begin with OBX-2."""
    fields = observation.split("|")
    fields[9] = status
    return "|".join(fields)


def _observation(item: Item, stamp: str) -> str:
    level = item.level or ""
    if isinstance(item, Answer):
        return _obx("CWE", _coded(item.name), level, _coded(item.value), flag=_flag(item), stamp=stamp)
    method = "~".join(_coded(part) for part in (item.basis, item.material) if part is not None)
    unit = f"{escaped(item.unit.value)}^{escaped(item.unit.meaning)}^UCUM"
    return _obx("NM", _coded(item.name), level, _plain_number(item), unit=unit, method=method, stamp=stamp)


def _plain_number(item: Quantity) -> str:
    # NM knows no exponent.
    return f"{item.value:.4f}".rstrip("0").rstrip(".")


def _flag(item: Answer) -> str:
    if item.name == concepts.CATEGORY:
        return {"DENSITY_LOW": "L", "DENSITY_NORMAL": "N"}.get(item.value.value, "")
    if item.name in (concepts.GRADE, concepts.MAX_GRADE):
        return "N" if item.value == concepts.GRADES[0] else "A"
    return ""


def _obx(kind: str, name: str, level: str, value: str, *, stamp: str, unit: str = "", flag: str = "", method: str = "") -> str:
    """Fields 2 to 17 of an OBX segment."""
    return "|".join((kind, name, level, value, unit, "", flag, "", "", _PRELIMINARY, "", "", stamp, "", "", method)).rstrip("|")


def _coded(concept: CodedConcept) -> str:
    return f"{escaped(concept.value)}^{escaped(concept.meaning)}^{escaped(concept.scheme_designator)}"
