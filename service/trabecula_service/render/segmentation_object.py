"""DICOM Segmentation: one coded segment per vertebral body, the sacrum and foreign material, on the source slices.

BINARY, which every reader knows, or as an option LABELMAP (Supplement 243): all segments in one frame per slice, a tenth of the bytes.
"""

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SegmentationStorage

from trabecula_morphometry.levels import LABEL_OF_LEVEL, LEVEL_OF_LABEL
from trabecula_morphometry.volume import LabelVolume
from trabecula_service.render.derived_object import (
    ALGORITHM_NAME,
    MANUFACTURER,
    MODEL_NAME,
    ObjectKind,
    finish,
    series_description,
    series_number,
    software_versions,
    to_bytes,
)
from trabecula_service.render.dicom_codes import (
    ANATOMICAL_STRUCTURE,
    ARTIFICIAL_INTELLIGENCE,
    SPECIAL_SEGMENTS,
    VERTEBRAL_BODY,
    level_code,
    region_code,
)
from trabecula_service.render.document_input import DocumentInput, RenderError
from trabecula_service.render.source_slices import bone_slices, labels_on_source_slices, source_references
from trabecula_service.render.uids import derived_uid, tracking_uid

SEGMENTATION_KIND = ObjectKind(
    key="segmentation", sop_class_uid=str(SegmentationStorage), modality="SEG", series_label="SEG", series_number_offset=2
)

LABELMAP_KIND = ObjectKind(
    key="labelmap", sop_class_uid="1.2.840.10008.5.1.4.1.1.66.7", modality="SEG", series_label="label map", series_number_offset=7
)
"""Label Map Segmentation Storage."""


def segment_numbers(bodies: LabelVolume) -> dict[int, int]:
    """Segment number of each label that is present: levels cranial to caudal, then the sacrum and foreign material."""
    present: set[int] = set()
    for labels_yx in bodies.labels_zyx:
        # Most of a series is no bone: looking at the labelled voxels alone is ten times quicker than counting all.
        present.update(np.unique(labels_yx[labels_yx > 0]).tolist())
    ordered = [label for label in (*LABEL_OF_LEVEL.values(), *SPECIAL_SEGMENTS) if label in present]
    return {label: number for number, label in enumerate(ordered, start=1)}


def segmentation_dcm(document_input: DocumentInput) -> bytes:
    """``segmentation.seg.dcm``, BINARY."""
    return _encoded(document_input, SEGMENTATION_KIND, SegmentationTypeValues.BINARY, ExplicitVRLittleEndian)


def labelmap_dcm(document_input: DocumentInput) -> bytes:
    """``labelmap.seg.dcm``, LABELMAP with run-length encoded frames."""
    return _encoded(document_input, LABELMAP_KIND, SegmentationTypeValues.LABELMAP, RLELossless)


def _encoded(document_input: DocumentInput, kind: ObjectKind, coding: SegmentationTypeValues, transfer_syntax_uid: str) -> bytes:
    """The segments as one object.

    Frames lie on the source slices by position: an uneven series or a tilted gantry needs no resampling of the reader's images.
    Slices without any segment have no frame.
    """
    references = source_references(document_input)
    numbers = segment_numbers(document_input.bodies)
    shown, used = labels_on_source_slices(document_input), bone_slices(document_input)
    labels = np.stack([shown[index] for index in used])
    if not labels.any():
        raise RenderError(
            "the segmentation is empty on the source slices", where=str(references[0].SeriesInstanceUID), hint="make no SEG for this result"
        )
    references = [references[index] for index in used]
    segmentation = Segmentation(
        source_images=references,
        pixel_array=_renumbered(labels, numbers),
        segmentation_type=coding,
        transfer_syntax_uid=transfer_syntax_uid,
        segment_descriptions=[_description(document_input, label, number) for label, number in numbers.items()],
        series_instance_uid=derived_uid(document_input, f"{kind.key}/series"),
        series_number=series_number(kind),
        sop_instance_uid=derived_uid(document_input, f"{kind.key}/instance"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=software_versions(document_input),
        device_serial_number="0",
        content_description="Vertebral bodies, automatic",
        content_label="VERTEBRAE",
        series_description=series_description(kind),
    )
    _fix_dimension_uid(segmentation, derived_uid(document_input, f"{kind.key}/dimension"))
    return to_bytes(finish(segmentation, document_input, kind), transfer_syntax_uid)


def _renumbered(labels: NDArray[np.uint8], numbers: dict[int, int]) -> NDArray[np.uint8]:
    """Segment numbers in place of labels, zero elsewhere."""
    lookup = np.zeros(256, dtype=np.uint8)
    for label, number in numbers.items():
        lookup[label] = number
    out = np.zeros_like(labels)
    labelled = labels > 0
    out[labelled] = lookup[labels[labelled]]
    return out


def _description(document_input: DocumentInput, label: int, number: int) -> SegmentDescription:
    reference = document_input.image.headers[0]
    algorithm = AlgorithmIdentificationSequence(
        name=ALGORITHM_NAME, family=ARTIFICIAL_INTELLIGENCE, version=software_versions(document_input), source=MANUFACTURER
    )
    if label in LEVEL_OF_LABEL:
        name = LEVEL_OF_LABEL[label]
        text, category, kind = f"{name} vertebral body", ANATOMICAL_STRUCTURE, level_code(name)
        regions, structures = [region_code(name)], [VERTEBRAL_BODY]
    else:
        name, category, kind = SPECIAL_SEGMENTS[label]
        text, regions, structures = name, None, None
    return SegmentDescription(
        segment_number=number,
        segment_label=text,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=tracking_uid(str(reference.StudyInstanceUID), str(reference.SeriesInstanceUID), name),
        tracking_id=name,
        anatomic_regions=regions,
        primary_anatomic_structures=structures,
    )


def _fix_dimension_uid(segmentation: Dataset, uid: str) -> None:
    """Replace the random UID that highdicom gives to the dimensions, so that the same input gives the same bytes."""
    segmentation.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for item in segmentation.DimensionIndexSequence:
        item.DimensionOrganizationUID = uid
