"""TID 1600 Image Library: the source slices that the report rests on, with how they were acquired.

Written with plain data sets, because one content item class per slice of a long series would cost a second.
"""

from collections.abc import Sequence

from highdicom.sr import CodeContentItem, CodedConcept, NumContentItem, RelationshipTypeValues, UIDRefContentItem
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from trabecula_service.render import dicom_codes as concepts
from trabecula_service.render.derived_object import frame_of_reference_of
from trabecula_service.render.document_input import DocumentInput

_ACQUIRED = RelationshipTypeValues.HAS_ACQ_CONTEXT


def image_library(series: Sequence[tuple[DocumentInput, Sequence[Dataset]]]) -> Dataset:
    """The library with one group per series: what all its slices share (TID 1602), then one reference per slice (TID 1601).

    Parameters
    ----------
    series : of each the input and the slices to name, as ``source_references`` gives them.
    """
    groups = [[*_shared_descriptors(entry, references[0]), *map(_image_item, references)] for entry, references in series]
    return _container(codes.DCM.ImageLibrary, [_container(codes.DCM.ImageLibraryGroup, images) for images in groups])


def _container(name: Code, content: list[Dataset]) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "CONTAINER"
    item.ConceptNameCodeSequence = DicomSequence([CodedConcept.from_code(name)])
    item.ContinuityOfContent = "SEPARATE"
    item.ContentSequence = DicomSequence(content)
    return item


def sop_reference(instance: Dataset) -> Dataset:
    """Class and instance UID of an object, as reference sequences hold them."""
    item = Dataset()
    item.ReferencedSOPClassUID = instance.SOPClassUID
    item.ReferencedSOPInstanceUID = instance.SOPInstanceUID
    return item


def _image_item(instance: Dataset) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "IMAGE"
    item.ReferencedSOPSequence = DicomSequence([sop_reference(instance)])
    return item


def _shared_descriptors(document_input: DocumentInput, reference: Dataset) -> list[Dataset]:
    acquisition, spacing = document_input.result.acquisition, document_input.result.source.spacing_mm
    rows_columns = ((codes.DCM.PixelDataRows, "Rows"), (codes.DCM.PixelDataColumns, "Columns"))
    found: list[Dataset] = [
        CodeContentItem(codes.DCM.Modality, codes.cid29.ComputedTomography, _ACQUIRED),
        UIDRefContentItem(codes.DCM.FrameOfReferenceUID, frame_of_reference_of(document_input), _ACQUIRED),
        *(_number(name, int(reference[keyword].value), _PIXELS) for name, keyword in rows_columns if keyword in reference),
    ]
    lengths = [
        (codes.DCM.HorizontalPixelSpacing, spacing[0] or None),
        (codes.DCM.VerticalPixelSpacing, spacing[1] or None),
        (codes.DCM.SpacingBetweenSlices, spacing[2] or None),
        (codes.DCM.SliceThickness, acquisition.slice_thickness_mm),
    ]
    found += [_number(name, value, concepts.MILLIMETRE) for name, value in lengths if value is not None]
    if acquisition.kvp is not None:
        found.append(_number(codes.DCM.KVP, acquisition.kvp, _KILOVOLT))
    return found


_PIXELS = CodedConcept(value="{pixels}", scheme_designator="UCUM", meaning="Pixels")
_KILOVOLT = CodedConcept(value="kV", scheme_designator="UCUM", meaning="kV")


def _number(name: CodedConcept, value: float, unit: CodedConcept) -> NumContentItem:
    return NumContentItem(name, value, unit, relationship_type=_ACQUIRED)
