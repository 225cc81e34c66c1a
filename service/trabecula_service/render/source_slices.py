"""The source slices as derived objects name them, and where the labels lie on them."""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from trabecula_morphometry.volume import LabelVolume
from trabecula_service.render.derived_object import MUST_EXIST, frame_of_reference_of, require_headers
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.shared_parts import once_per_input

_NAMING_TAGS = tuple(Tag(keyword) for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"))
_PLACING_TAGS = tuple(
    Tag(keyword) for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns")
)


@once_per_input
def source_references(document_input: DocumentInput) -> list[Dataset]:
    """Small copies of the source headers: what a derived object needs of each slice to name it, type 2 elements filled."""
    first = require_headers(document_input)
    frame_of_reference = frame_of_reference_of(document_input)
    copies = []
    for header in document_input.image.headers:
        copy = Dataset()
        for tag in _NAMING_TAGS:
            # As it lies in the header, not decoded: a series has up to a thousand slices and most elements are never looked at.
            copy[tag] = header.get_item(tag)
        for tag in _PLACING_TAGS:
            source = header if tag in header else first
            if tag in source:
                copy[tag] = source.get_item(tag)
        copy.Modality = str(header.get("Modality") or "CT")
        copy.FrameOfReferenceUID = frame_of_reference
        for keyword in MUST_EXIST:
            setattr(copy, keyword, None)
        copies.append(copy)
    return copies


@once_per_input
def bone_slices(document_input: DocumentInput) -> list[int]:
    """Indices of the source slices that show a label; all slices where nothing was labelled.

    Documents refer to these alone: a chest to pelvis series has hundreds of slices that no measurement touches.
    """
    everything = list(range(len(document_input.image.headers)))
    if not document_input.bodies.labels_zyx.any():
        return everything
    return [index for index, labels_yx in enumerate(labels_on_source_slices(document_input)) if labels_yx.any()] or everything


@once_per_input
def labels_on_source_slices(document_input: DocumentInput) -> list[NDArray[np.uint8]]:
    """The body labels on each source slice, nearest voxel: one array (rows, columns) per slice."""
    return [_labels_on_slice(document_input.bodies, reference) for reference in source_references(document_input)]


def _labels_on_slice(labels: LabelVolume, reference: Dataset) -> NDArray[np.uint8]:
    shape = (int(reference.Rows), int(reference.Columns))
    origin = np.asarray(reference.ImagePositionPatient, dtype=float)
    row_spacing, column_spacing = (float(step) for step in reference.PixelSpacing)
    along_columns = np.asarray(reference.ImageOrientationPatient[:3], dtype=float) * column_spacing
    along_rows = np.asarray(reference.ImageOrientationPatient[3:], dtype=float) * row_spacing
    corners = labels.grid.to_voxel([origin, origin + along_columns, origin + along_rows])
    steps = corners[1:] - corners[0]
    same_raster = np.abs(steps - np.eye(3)[:2]).max() < 1e-3 and np.abs(corners[0, :2]).max() < 0.05
    if same_raster and shape == labels.labels_zyx.shape[1:]:
        slice_index = int(np.rint(corners[0, 2]))
        # A view: a copy of a whole series would cost a quarter of a gigabyte.
        return labels.labels_zyx[slice_index] if 0 <= slice_index < labels.labels_zyx.shape[0] else np.zeros(shape, dtype=np.uint8)
    row, column = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    return labels.sample(origin + column[..., None] * along_columns + row[..., None] * along_rows)
