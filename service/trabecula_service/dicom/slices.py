"""One record per image slice: what the header says about its place, its values and its acquisition."""

from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from trabecula_service.dicom import header as tags
from trabecula_service.dicom.files import InputFile

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceRecord:
    """One slice: a single-frame image, or one frame of a multi-frame image.

    ``position_lps_mm``, ``orientation`` and ``pixel_spacing_mm`` (row spacing, column spacing) are None where the header does not give
    them as numbers; ``slope`` and ``intercept`` likewise.
    """

    file: InputFile
    frame: int
    header: Dataset = field(repr=False)
    sop_instance_uid: str
    series_instance_uid: str
    rows: int
    columns: int
    position_lps_mm: Triple | None
    orientation: tuple[float, ...] | None
    pixel_spacing_mm: tuple[float, float] | None
    slope: float | None
    intercept: float | None
    acquisition_number: int | None
    temporal_position: int | None
    instance_number: int | None
    time: str

    @property
    def has_geometry(self) -> bool:
        """Whether the slice can be placed in space."""
        return self.position_lps_mm is not None and self.orientation is not None and self.pixel_spacing_mm is not None


def slices_of(file: InputFile, header: Dataset) -> list[SliceRecord]:
    """The slices of one file: one, or one per frame with the functional groups of the frame."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        return [_record(file, header, 0)]
    shared = tags.item(header, "SharedFunctionalGroupsSequence") or Dataset()
    return [_record(file, _frame_header(header, frame, shared), index) for index, frame in enumerate(per_frame)]


_GROUPS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "FrameContentSequence",
    "CTImageFrameTypeSequence",
    "CTReconstructionSequence",
    "CTXRayDetailsSequence",
    "CTAcquisitionDetailsSequence",
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)


def _frame_header(header: Dataset, frame: Dataset, shared: Dataset) -> Dataset:
    """The header as a single-frame image would have it: the frame's own groups over the shared ones over the top level.

    Rescale and geometry of a multi-frame image count only from its functional groups: a top-level value would hold for no frame.
    """
    flat = Dataset(header)
    flat.file_meta = header.file_meta
    for keyword in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "RescaleSlope", "RescaleIntercept"):
        flat.pop(keyword, None)
    for groups in (shared, frame):
        for name in _GROUPS:
            group = tags.item(groups, name)
            if group is not None:
                flat.update(group)
    if "FrameType" in flat:
        flat.ImageType = flat.FrameType
    for source, target in (("FrameAcquisitionNumber", "AcquisitionNumber"), ("FrameAcquisitionDateTime", "AcquisitionDateTime")):
        if source in flat:
            setattr(flat, target, flat[source].value)
    return flat


def _record(file: InputFile, header: Dataset, frame: int) -> SliceRecord:
    position = tags.numbers(header, "ImagePositionPatient")
    orientation = tags.numbers(header, "ImageOrientationPatient")
    spacing = tags.numbers(header, "PixelSpacing")
    time = tags.text(header, "AcquisitionDateTime") or tags.text(header, "AcquisitionDate") + tags.text(header, "AcquisitionTime")
    return SliceRecord(
        file=file,
        frame=frame,
        header=header,
        sop_instance_uid=tags.uid(header, "SOPInstanceUID", "MediaStorageSOPInstanceUID"),
        series_instance_uid=tags.uid(header, "SeriesInstanceUID"),
        rows=tags.integer(header, "Rows") or 0,
        columns=tags.integer(header, "Columns") or 0,
        position_lps_mm=(position[0], position[1], position[2]) if len(position) == 3 else None,
        orientation=orientation if len(orientation) == 6 else None,
        pixel_spacing_mm=(spacing[0], spacing[1]) if len(spacing) == 2 else None,
        slope=tags.number(header, "RescaleSlope"),
        intercept=tags.number(header, "RescaleIntercept"),
        acquisition_number=tags.integer(header, "AcquisitionNumber"),
        temporal_position=tags.integer(header, "TemporalPositionIdentifier") or tags.integer(header, "TemporalPositionIndex"),
        instance_number=tags.integer(header, "InstanceNumber"),
        time=time,
    )
