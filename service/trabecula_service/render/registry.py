"""All documents of a result: one line here adds a format."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from trabecula_service.render.derived_object import has_references
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.encapsulated_pdf import report_pdf_dcm
from trabecula_service.render.fhir_bundle import report_fhir
from trabecula_service.render.hl7_message import can_be_filed, report_oru, report_oru_pdf
from trabecula_service.render.measurements_table import measurements_csv
from trabecula_service.render.nifti import bodies_nifti, posterior_nifti
from trabecula_service.render.overview import overview_png
from trabecula_service.render.pdf_report import report_pdf
from trabecula_service.render.presentation_state import has_points, points_pr_dcm
from trabecula_service.render.rejection_note import rejection_ko_dcm
from trabecula_service.render.secondary_capture import capture_sc_dcm
from trabecula_service.render.segmentation_object import labelmap_dcm, segment_numbers, segmentation_dcm
from trabecula_service.render.stack_inputs import stack_inputs
from trabecula_service.render.structured_report import report_sr_dcm


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document: its contract file name, how it is made, and what it needs.

    ``dicom``: source images that a DICOM object can name. ``measured``: a result that is complete or partial. ``segments``: at least
    one label. ``points``: height points on the slices. ``patient_id``: a patient ID in the header. ``superseding``: objects of earlier
    versions. ``per_series``: it can name one series only, so a result of several has one of each.
    ``optional``: made only where it is asked for.
    """

    file_name: str
    render: Callable[[DocumentInput], bytes]
    dicom: bool = False
    measured: bool = False
    segments: bool = False
    points: bool = False
    patient_id: bool = False
    superseding: bool = False
    per_series: bool = False
    optional: bool = False

    def named(self, number: int) -> str:
        """File name of the object of the n-th series: ``segmentation.seg.dcm``, ``segmentation-2.seg.dcm``, ..."""
        stem, dot, suffix = self.file_name.partition(".")
        return self.file_name if number == 1 else f"{stem}-{number}{dot}{suffix}"


DOCUMENTS: tuple[Document, ...] = (
    Document(file_name="report.pdf", render=report_pdf),
    Document(file_name="overview.png", render=overview_png, measured=True),
    Document(file_name="segmentation.nii.gz", render=bodies_nifti, measured=True),
    Document(file_name="segmentation_posterior.nii.gz", render=posterior_nifti, measured=True),
    Document(file_name="report.sr.dcm", render=report_sr_dcm, dicom=True),
    Document(file_name="segmentation.seg.dcm", render=segmentation_dcm, dicom=True, measured=True, segments=True, per_series=True),
    Document(file_name="labelmap.seg.dcm", render=labelmap_dcm, dicom=True, measured=True, segments=True, per_series=True, optional=True),
    Document(file_name="capture.sc.dcm", render=capture_sc_dcm, dicom=True, measured=True),
    Document(file_name="report.pdf.dcm", render=report_pdf_dcm, dicom=True),
    Document(file_name="points.pr.dcm", render=points_pr_dcm, dicom=True, measured=True, points=True, per_series=True),
    Document(file_name="rejection.ko.dcm", render=rejection_ko_dcm, dicom=True, superseding=True),
    Document(file_name="report.oru.hl7", render=report_oru, dicom=True, patient_id=True),
    Document(file_name="report-pdf.oru.hl7", render=report_oru_pdf, dicom=True, patient_id=True),
    Document(file_name="report.fhir.json", render=report_fhir, dicom=True),
    Document(file_name="measurements.csv", render=measurements_csv),
)


def render_all(document_input: DocumentInput, wanted: Collection[str] = ()) -> dict[str, bytes]:
    """All documents that this result can have, by file name.

    A result that is not evaluable has the reports with its reasons and no picture or segmentation; an input without usable UIDs, or
    a NIfTI file, has no DICOM objects. ``wanted`` names optional documents that are made too.
    """
    made = {}
    for document in DOCUMENTS:
        if document.optional and document.file_name not in wanted:
            continue
        inputs = stack_inputs(document_input) if document.per_series else (document_input,)
        possible = [entry for entry in inputs if _applies(document, entry)]
        made.update({document.named(number): document.render(entry) for number, entry in enumerate(possible, start=1)})
    return made


def _applies(document: Document, document_input: DocumentInput) -> bool:
    if document.dicom and not has_references(document_input):
        return False
    if document.measured and document_input.result.status == "not_evaluable":
        return False
    if document.segments and not segment_numbers(document_input.bodies):
        return False
    if document.patient_id and not can_be_filed(document_input):
        return False
    if document.superseding and not document_input.superseded:
        return False
    return not document.points or has_points(document_input)
