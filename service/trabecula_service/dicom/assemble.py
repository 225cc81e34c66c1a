"""Makes one volume of one stack: decodes its slices in two threads and puts each on its plane of the grid."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from trabecula_morphometry.codes import Code
from trabecula_morphometry.errors import GeometryError
from trabecula_morphometry.volume import AIR_HU, Volume
from trabecula_service.choose.kinds import is_monoenergetic
from trabecula_service.dicom import header as tags
from trabecula_service.dicom.acquisition import acquisition_of
from trabecula_service.dicom.geometry import TILT_NOTICED_DEG, SlicePlan, plan_slices
from trabecula_service.dicom.image import CtImage, NotEvaluableError
from trabecula_service.dicom.pixels import HISTOGRAM_BINS, decode_file
from trabecula_service.dicom.plausible_hu import clipped_at_hu, why_not_hu
from trabecula_service.dicom.slices import SliceRecord
from trabecula_service.dicom.stacks import Stack
from trabecula_service.result import Flag, Source, flag

_DECODING_THREADS = 2
"""Decoders release the interpreter lock for most of their time; more threads gain nothing on the small machines this must run on."""


def read_stack(stack: Stack) -> CtImage:
    """Decode a stack of at least two slices into a volume.

    Raises
    ------
    InputError
        Pixel data are missing, cut, or cannot be decoded here.
    NotEvaluableError
        HU_IMPLAUSIBLE (no usable rescale, or values that are no HU) or GEOMETRY_IMPLAUSIBLE.
    """
    where = f"series {stack.slices[0].series_instance_uid or 'without UID'}"
    if stack.frame is None:
        raise NotEvaluableError(Code.GEOMETRY_IMPLAUSIBLE, where=where, detail=stack.unplaced)
    try:
        plan = plan_slices(stack.positions_lps_mm(), stack.frame)
    except GeometryError as error:
        raise NotEvaluableError(Code.GEOMETRY_IMPLAUSIBLE, where=where, detail=error.what) from error
    check_rescale(stack, where)
    ordered = [stack.slices[index] for index in plan.order]
    hu, padded, histogram = _decode_all(ordered)
    reason = why_not_hu(histogram)
    if reason:
        raise NotEvaluableError(Code.HU_IMPLAUSIBLE, where=where, detail=reason)
    volume = Volume(hu_zyx=hu if plan.even else _on_grid(hu, plan), grid=plan.grid)
    middle = ordered[len(ordered) // 2]
    return CtImage(
        volume=volume,
        source=_source(stack, ordered, volume, _content_hash(ordered, hu)),
        acquisition=acquisition_of(middle.header),
        flags=(*_flags(stack, plan, middle.header), *_clipped(histogram)),
        headers=tuple(_completed(record) for record in ordered),
        even_slices=plan.even,
        slice_gaps_mm=plan.gaps_mm,
        scanned_step_mm=plan.scanned_step_mm,
        interpolated_slices=tuple(np.flatnonzero((plan.weight > 0) | (plan.lower < 0)).tolist()),
        padding_share=padded / hu.size,
    )


def check_rescale(stack: Stack, where: str) -> None:
    """Refuse slices without slope and intercept: their stored values would pass for HU that are 1024 off."""
    bad = [record for record in stack.slices if not record.slope or record.slope < 0 or record.intercept is None]
    if bad:
        detail = f"Rescale slope or intercept is missing or zero in {len(bad)} of {len(stack.slices)} slices."
        raise NotEvaluableError(Code.HU_IMPLAUSIBLE, where=where, detail=detail)
    if any("ModalityLUTSequence" in record.header for record in stack.slices):
        raise NotEvaluableError(Code.HU_IMPLAUSIBLE, where=where, detail="A modality table takes the place of the rescale.")


def _decode_all(ordered: list[SliceRecord]) -> tuple[NDArray[np.int16], int, NDArray[np.int64]]:
    """HU of all slices in order (n, rows, columns), number of padding pixels, histogram."""
    hu = np.empty((len(ordered), ordered[0].rows, ordered[0].columns), dtype=np.int16)
    by_file: dict[object, list[int]] = {}
    for index, record in enumerate(ordered):
        by_file.setdefault(record.file.path, []).append(index)

    def decode_into(indices: list[int]) -> tuple[int, NDArray[np.int64]]:
        padded, histogram = 0, np.zeros(HISTOGRAM_BINS, dtype=np.int64)
        for index, decoded in zip(indices, decode_file([ordered[i] for i in indices]), strict=True):
            hu[index] = decoded.hu
            padded, histogram = padded + decoded.padded, histogram + decoded.histogram
        return padded, histogram

    with ThreadPoolExecutor(_DECODING_THREADS) as pool:
        parts = list(pool.map(decode_into, by_file.values()))
    return hu, sum(padded for padded, _ in parts), np.sum([histogram for _, histogram in parts], axis=0)


def _on_grid(hu: NDArray[np.int16], plan: SlicePlan) -> NDArray[np.int16]:
    """Slices at uneven places put on the even planes of the grid, linearly between neighbours, air where a gap is too wide."""
    out = np.empty(plan.grid.shape_zyx, dtype=np.int16)
    for k, (lower, weight) in enumerate(zip(plan.lower.tolist(), plan.weight.tolist(), strict=True)):
        if lower < 0:
            out[k] = AIR_HU
        elif weight == 0.0:
            out[k] = hu[lower]
        else:
            out[k] = np.rint((1 - weight) * hu[lower].astype(np.float32) + weight * hu[lower + 1].astype(np.float32)).astype(np.int16)
    return out


def _content_hash(ordered: list[SliceRecord], hu: NDArray[np.int16]) -> str:
    digest = hashlib.sha256()
    for record, values in zip(ordered, hu, strict=True):
        digest.update(repr([record.position_lps_mm, record.orientation, record.pixel_spacing_mm]).encode())
        digest.update(values.data)
    return digest.hexdigest()


def _source(stack: Stack, ordered: list[SliceRecord], volume: Volume, content: str) -> Source:
    header = ordered[0].header
    spacing = [round(float(s), 6) for s in volume.grid.spacing_xyz_mm[:2]] + [round(volume.grid.slice_spacing_mm, 6)]
    nz, ny, nx = volume.grid.shape_zyx
    return Source(
        study_instance_uid=tags.uid(header, "StudyInstanceUID") or None,
        series_instance_uid=tags.uid(header, "SeriesInstanceUID") or None,
        frame_of_reference_uid=tags.uid(header, "FrameOfReferenceUID") or None,
        series_number=tags.integer(header, "SeriesNumber"),
        acquisition_number=stack.acquisition_number,
        file_count=len({record.file.path for record in ordered}),
        matrix=(nx, ny, nz),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        content_sha256=content,
    )


def _completed(record: SliceRecord) -> Dataset:
    """The header with the SOP instance and class that the file meta information names, where the data set lost them."""
    header = record.header
    for keyword, meta_keyword in (("SOPInstanceUID", "MediaStorageSOPInstanceUID"), ("SOPClassUID", "MediaStorageSOPClassUID")):
        value = tags.uid(header, keyword, meta_keyword)
        if value and not tags.text(header, keyword):
            setattr(header, keyword, value)
    return header


def _flags(stack: Stack, plan: SlicePlan, header: Dataset) -> list[Flag]:
    flags = []
    if not plan.even:
        flags.append(flag(Code.SLICES_MISSING, _said_of_gaps(plan)))
    if plan.tilt_deg > TILT_NOTICED_DEG:
        flags.append(flag(Code.GANTRY_TILT, f"Tilt {plan.tilt_deg:.1f} degrees."))
    if stack.repeated:
        flags.append(flag(Code.DUPLICATE_SLICES, f"{stack.repeated} left out."))
    if stack.conflicting:
        flags.append(flag(Code.DUPLICATE_SLICES, f"{stack.conflicting} other images had the UID of an earlier one and were left out."))
    if stack.frames_of_reference > 1:
        flags.append(flag(Code.FRAMES_OF_REFERENCE, f"{stack.frames_of_reference} in {len(stack.slices)} images."))
    if is_lossy(header):
        flags.append(flag(Code.LOSSY_COMPRESSION))
    if is_monoenergetic(header):
        flags.append(flag(Code.KVP_MISMATCH, "These are virtual monoenergetic images: their HU do not follow the tube voltage."))
    return flags


def _said_of_gaps(plan: SlicePlan) -> str:
    spans = zip(plan.gaps_mm, plan.gap_spans_mm, strict=True)
    gaps = ", ".join(f"{gap:.1f} mm (from {low:.1f} to {high:.1f})" for gap, (low, high) in spans) or "none"
    interpolated, empty = int(np.count_nonzero((plan.weight > 0) & (plan.lower >= 0))), int(np.count_nonzero(plan.lower < 0))
    grid = f"an even grid of {plan.step_mm:.2f} mm: {interpolated} of {len(plan.lower)} slices interpolated, {empty} left empty"
    return f"Gaps: {gaps}. Put on {grid}."


def _clipped(histogram: NDArray[np.int64]) -> list[Flag]:
    top_hu = clipped_at_hu(histogram)
    return [] if top_hu is None else [flag(Code.HU_CLIPPED, f"Cut off at {top_hu} HU.")]


_LOSSY_SYNTAXES = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
)
"""JPEG baseline and extended, JPEG-LS near-lossless; JPEG 2000 says it in LossyImageCompression."""


def is_lossy(header: Dataset) -> bool:
    """Whether the pixels were ever compressed with loss."""
    meta = getattr(header, "file_meta", None)
    syntax = "" if meta is None else tags.text(meta, "TransferSyntaxUID")
    return tags.text(header, "LossyImageCompression") == "01" or syntax in _LOSSY_SYNTAXES
