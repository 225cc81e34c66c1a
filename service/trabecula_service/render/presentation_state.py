"""DICOM Grayscale Softcopy Presentation State: the six points of each body and its name, on the axial slices where they lie."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage
from pydicom.valuerep import DSfloat

from trabecula_service.render.column_picture import WINDOW_CENTER_HU, WINDOW_WIDTH_HU
from trabecula_service.render.derived_object import ObjectKind, new_object, to_bytes
from trabecula_service.render.document_input import DocumentInput
from trabecula_service.render.image_library import sop_reference
from trabecula_service.render.source_slices import source_references

POINTS_KIND = ObjectKind(
    key="points", sop_class_uid=str(GrayscaleSoftcopyPresentationStateStorage), modality="PR", series_label="points", series_number_offset=5
)
_LAYER = "SIX_POINTS"
_SHORT = {"anterior": "A", "middle": "M", "posterior": "P", "superior": "S", "inferior": "I"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPoint:
    """One height point on the slice nearest to it; ``column`` and ``row`` in pixels, (0, 0) the outer corner of the first pixel."""

    text: str
    column: float
    row: float


def points_pr_dcm(document_input: DocumentInput) -> bytes:
    """``points.pr.dcm``: opens on the source series; a slice shows only the points within half a slice of it."""
    references = source_references(document_input)
    placed = points_on_slices(document_input, references)
    used = [references[index] for index in sorted(placed)]
    dataset = new_object(document_input, POINTS_KIND)
    dataset.ContentLabel = "SIX_POINTS"
    standing = "verified" if document_input.result.signature else "unverified"
    dataset.ContentDescription = f"Six height points per vertebral body, automatic, {standing}"
    dataset.PresentationCreationDate, dataset.PresentationCreationTime = dataset.ContentDate, dataset.ContentTime
    # These belong to images and documents, not to presentation states.
    del dataset.ContentDate, dataset.ContentTime
    dataset.ContentCreatorName = None
    dataset.BodyPartExamined = "SPINE"
    series = Dataset()
    series.SeriesInstanceUID = used[0].SeriesInstanceUID
    series.ReferencedImageSequence = DicomSequence([sop_reference(image) for image in used])
    dataset.ReferencedSeriesSequence = DicomSequence([series])
    dataset.DisplayedAreaSelectionSequence = DicomSequence([_displayed_area(used)])
    dataset.GraphicAnnotationSequence = DicomSequence([_annotation(references[index], placed[index]) for index in sorted(placed)])
    layer = Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder = _LAYER, 1
    layer.GraphicLayerRecommendedDisplayGrayscaleValue = 65535
    dataset.GraphicLayerSequence = DicomSequence([layer])
    window = Dataset()
    window.WindowCenter, window.WindowWidth = WINDOW_CENTER_HU, WINDOW_WIDTH_HU
    dataset.SoftcopyVOILUTSequence = DicomSequence([window])
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = _rescale(document_input)
    dataset.PresentationLUTShape = "IDENTITY"
    return to_bytes(dataset)


def has_points(document_input: DocumentInput) -> bool:
    """Whether any point lies on a slice whose stored values one presentation state can describe."""
    slopes = {(header.get("RescaleSlope"), header.get("RescaleIntercept")) for header in document_input.image.headers}
    return len(slopes) == 1 and bool(points_on_slices(document_input, source_references(document_input)))


def points_on_slices(document_input: DocumentInput, references: Sequence[Dataset]) -> dict[int, list[PlacedPoint]]:
    """The points by index of the slice nearest to them; points more than one slice step off every slice are left out."""
    if not any(level.points_lps_mm for level in document_input.result.levels):
        return {}
    origins = np.array([[float(part) for part in reference.ImagePositionPatient] for reference in references])
    orientation = np.array([float(part) for part in references[0].ImageOrientationPatient])
    normal = np.cross(orientation[:3], orientation[3:])
    row_mm, column_mm = (float(step) for step in references[0].PixelSpacing)
    reach_mm = max(document_input.result.source.spacing_mm[2], 1.0)
    placed: dict[int, list[PlacedPoint]] = defaultdict(list)
    for level in document_input.result.levels:
        for place, point in (level.points_lps_mm.model_dump() if level.points_lps_mm else {}).items():
            distances = (np.asarray(point) - origins) @ normal
            index = int(np.abs(distances).argmin())
            if abs(distances[index]) > reach_mm:
                continue
            offset = np.asarray(point) - origins[index]
            # Half a pixel: positions are those of pixel centres, annotations count from the outer corner.
            column, row = offset @ orientation[:3] / column_mm + 0.5, offset @ orientation[3:] / row_mm + 0.5
            text = f"{level.name} {''.join(_SHORT[part] for part in place.split('_'))}"
            placed[index].append(PlacedPoint(text=text, column=float(column), row=float(row)))
    return dict(placed)


def _rescale(document_input: DocumentInput) -> tuple[float, float, str]:
    header = document_input.image.headers[0]
    return float(header.get("RescaleIntercept") or 0.0), float(header.get("RescaleSlope") or 1.0), "HU"


def _displayed_area(references: Sequence[Dataset]) -> Dataset:
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [int(references[0].Columns), int(references[0].Rows)]
    area.PresentationSizeMode = "SCALE TO FIT"
    # Some scanners write more digits than a decimal string may hold.
    area.PresentationPixelSpacing = [DSfloat(float(step), auto_format=True) for step in references[0].PixelSpacing]
    return area


def _annotation(reference: Dataset, points: Sequence[PlacedPoint]) -> Dataset:
    item = Dataset()
    item.ReferencedImageSequence = DicomSequence([sop_reference(reference)])
    item.GraphicLayer = _LAYER
    item.TextObjectSequence = DicomSequence([_text(point) for point in points])
    item.GraphicObjectSequence = DicomSequence([_graphic(point) for point in points])
    return item


def _graphic(point: PlacedPoint) -> Dataset:
    item = Dataset()
    item.GraphicAnnotationUnits, item.GraphicDimensions, item.NumberOfGraphicPoints = "PIXEL", 2, 1
    item.GraphicData = [point.column, point.row]
    item.GraphicType, item.GraphicFilled = "POINT", "N"
    return item


def _text(point: PlacedPoint) -> Dataset:
    item = Dataset()
    item.AnchorPointAnnotationUnits, item.UnformattedTextValue = "PIXEL", point.text
    item.AnchorPoint, item.AnchorPointVisibility = [point.column, point.row], "N"
    return item
