"""A reader's signature in a DICOM structured report: verifying observer and the report whose place this one takes (PS3.3 C.17.2)."""

from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import Comprehensive3DSRStorage

from trabecula_service.render.dicom_codes import ascii_text
from trabecula_service.result import Signature


def sign(report: Dataset, signature: Signature) -> None:
    """Mark a report as verified; it names its predecessor where there is one."""
    report.PreliminaryFlag, report.VerificationFlag = "FINAL", "VERIFIED"
    observer = Dataset()
    observer.VerifyingObserverName = person_name(signature.reader, report)
    observer.VerifyingOrganization = _fitting(signature.organization, report) or "not stated"
    observer.VerificationDateTime = f"{signature.at:%Y%m%d%H%M%S%z}"
    observer.VerifyingObserverIdentificationCodeSequence = DicomSequence()
    report.VerifyingObserverSequence = DicomSequence([observer])
    if signature.predecessor_sop_instance_uid and signature.predecessor_series_instance_uid:
        report.PredecessorDocumentsSequence = DicomSequence([_predecessor(report, signature)])


def person_name(reader: str, dataset: Dataset) -> str:
    """ "Family, Given" as a DICOM person name, in signs that the data set's character set holds."""
    family, _, given = (part.strip() for part in reader.replace("^", " ").replace("=", " ").replace("\\", " ").partition(","))
    fitted = _fitting(f"{family}^{given}" if given else family, dataset)
    # Nothing is left of a name in signs that the patient's character set does not know; the PDF and result.json have it in full.
    return fitted if any(sign.isalnum() for sign in fitted) else "READER"


def _fitting(text: str, dataset: Dataset) -> str:
    """The text, or its plain letters where the character set of the patient's name (which we do not change) cannot hold it."""
    text = text[:64]
    if text.isascii() or any(_holds(encoding, text) for encoding in convert_encodings(dataset.get("SpecificCharacterSet") or "ISO_IR 6")):
        return text
    return ascii_text(text)


def _holds(encoding: str, text: str) -> bool:
    # The default repertoire is ASCII, although pydicom decodes it leniently.
    try:
        text.encode("ascii" if encoding == "iso8859" else encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def _predecessor(report: Dataset, signature: Signature) -> Dataset:
    instance = Dataset()
    instance.ReferencedSOPClassUID = Comprehensive3DSRStorage
    instance.ReferencedSOPInstanceUID = signature.predecessor_sop_instance_uid
    series = Dataset()
    series.SeriesInstanceUID = signature.predecessor_series_instance_uid
    series.ReferencedSOPSequence = DicomSequence([instance])
    study = Dataset()
    study.StudyInstanceUID = report.StudyInstanceUID
    study.ReferencedSeriesSequence = DicomSequence([series])
    return study
