"""DICOM Encapsulated PDF: the report as it is, for the PACS."""

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage

from trabecula_service.render.derived_object import ObjectKind, new_object, to_bytes
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.pdf_report import report_pdf
from trabecula_service.render.source_slices import bone_slices, source_references

PDF_KIND = ObjectKind(key="pdf", sop_class_uid=str(EncapsulatedPDFStorage), modality="DOC", series_label="PDF", series_number_offset=4)


def report_pdf_dcm(document_input: DocumentInput) -> bytes:
    """``report.pdf.dcm``: the same pages as ``report.pdf``."""
    pdf = report_pdf(document_input)
    dataset = new_object(document_input, PDF_KIND)
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "YES"
    dataset.RecognizableVisualFeatures = "NO"
    dataset.AcquisitionDateTime = f"{document_input.created:%Y%m%d%H%M%S%z}"
    signed = document_input.result.signature is not None
    dataset.DocumentTitle = f"Opportunistic bone reading, AI-generated, {'verified by a reader' if signed else 'unverified'}"
    dataset.ConceptNameCodeSequence = Sequence([_code(codes.DCM.ImagingMeasurementReport)])
    dataset.VerificationFlag = "VERIFIED" if signed else "UNVERIFIED"
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(pdf)
    dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    references = source_references(document_input)
    dataset.SourceInstanceSequence = Sequence([_reference(references[index]) for index in bone_slices(document_input)])
    return to_bytes(dataset)


def _reference(source: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    return item


def _code(concept: object) -> Dataset:
    item = Dataset()
    item.CodeValue = concept.value  # type: ignore[attr-defined]
    item.CodingSchemeDesignator = concept.scheme_designator  # type: ignore[attr-defined]
    item.CodeMeaning = concept.meaning  # type: ignore[attr-defined]
    return item
