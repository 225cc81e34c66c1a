"""Key Object Selection "Rejected for Quality Reasons" (IHE Imaging Object Change Management): hide what this version takes the place of."""

from collections import defaultdict

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import KeyObjectSelectionDocumentStorage, SecondaryCaptureImageStorage, SegmentationStorage

from trabecula_service.render.derived_object import ObjectKind, new_object, to_bytes
from trabecula_service.render.document_input import DocumentInput, SupersededObject

REJECTION_KIND = ObjectKind(
    key="rejection",
    sop_class_uid=str(KeyObjectSelectionDocumentStorage),
    modality="KO",
    series_label="superseded",
    series_number_offset=6,
)
_IMAGES = frozenset({str(SecondaryCaptureImageStorage), str(SegmentationStorage)})


def rejection_ko_dcm(document_input: DocumentInput) -> bytes:
    """``rejection.ko.dcm``: names every DICOM object of the earlier versions (TID 2010).

    An archive that follows IHE's Imaging Object Change Management no longer shows them; one that does not keeps the note as a document.
    """
    dataset = new_object(document_input, REJECTION_KIND)
    dataset.ReferencedPerformedProcedureStepSequence = DicomSequence([])
    dataset.CurrentRequestedProcedureEvidenceSequence = DicomSequence([_evidence(document_input)])
    dataset.ValueType, dataset.ContinuityOfContent = "CONTAINER", "SEPARATE"
    dataset.ConceptNameCodeSequence = _coded(codes.DCM.RejectedForQualityReasons)
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2010"
    dataset.ContentTemplateSequence = DicomSequence([template])
    description = Dataset()
    description.RelationshipType, description.ValueType = "CONTAINS", "TEXT"
    description.ConceptNameCodeSequence = _coded(codes.DCM.KeyObjectDescription)
    description.TextValue = f"Replaced by result version {document_input.version}."
    dataset.ContentSequence = DicomSequence([description, *map(_content_item, document_input.superseded)])
    return to_bytes(dataset)


def _evidence(document_input: DocumentInput) -> Dataset:
    by_series: dict[str, list[SupersededObject]] = defaultdict(list)
    for entry in document_input.superseded:
        by_series[entry.series_instance_uid].append(entry)
    study = Dataset()
    study.StudyInstanceUID = document_input.image.headers[0].StudyInstanceUID
    study.ReferencedSeriesSequence = DicomSequence([_series(uid, entries) for uid, entries in by_series.items()])
    return study


def _series(uid: str, entries: list[SupersededObject]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = uid
    series.ReferencedSOPSequence = DicomSequence([_reference(entry) for entry in entries])
    return series


def _reference(entry: SupersededObject) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = entry.sop_class_uid, entry.sop_instance_uid
    return item


def _content_item(entry: SupersededObject) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "IMAGE" if entry.sop_class_uid in _IMAGES else "COMPOSITE"
    item.ReferencedSOPSequence = DicomSequence([_reference(entry)])
    return item


def _coded(code: Code) -> DicomSequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return DicomSequence([item])
