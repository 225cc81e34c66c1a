"""Decodes slices to Hounsfield units: rescale per slice, padding masked, int16."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from scipy import ndimage

from trabecula_morphometry.errors import InputError
from trabecula_morphometry.volume import AIR_HU
from trabecula_service.dicom import jpeg_lossless
from trabecula_service.dicom.slices import SliceRecord

HISTOGRAM_LOW_HU = -1024
HISTOGRAM_BINS = 4096
"""The histogram covers -1024 to 3071 HU, the range of 12 bit; higher values count in the last bin."""

_HISTOGRAM_STRIDE = 4

_NO_SCANNED_HU = -1200
"""Below this no scanner measures: manufacturers' fill outside the reconstruction circle (GE: -2000 stored, -3024 HU)."""

_PADDING_IN_AIR_HU = -900
_PADDING_ABOVE_HU = 3000

Stored = NDArray[np.integer[Any]]
"""Stored values of one slice, axes [y, x]."""

_HINT = "send the series again, uncompressed if possible"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DecodedSlice:
    """HU of one slice (rows, columns), int16, padding at ``AIR_HU``; how many pixels were padding; and a histogram of every 16th other."""

    hu: NDArray[np.int16]
    padded: int
    histogram: NDArray[np.int64]


def decode_file(slices: Sequence[SliceRecord]) -> list[DecodedSlice]:
    """Decode slices that come from one file.

    Raises
    ------
    InputError
        The file holds no pixel data, is cut, or its transfer syntax cannot be decoded here.
    """
    first = slices[0]
    jpeg_lossless.register()
    try:
        image = dcmread(first.file.path, force=True)
    except Exception as error:  # a damaged file may make the parser raise anything
        raise _failed("the file is damaged", first) from error
    if "PixelData" not in image:
        raise _failed("the image has no pixel data", first)
    syntax = _transfer_syntax(image)
    _check_decodable(syntax, first)
    return [_decode(image, record, syntax) for record in slices]


def _failed(what: str, record: SliceRecord, hint: str = _HINT) -> InputError:
    return InputError(f"DECODE_FAILED: {what}", where=record.file.name, hint=hint)


def _transfer_syntax(image: Dataset) -> UID:
    """The syntax of the file meta information; of a bare data set, what the parser found it to be."""
    meta = getattr(image, "file_meta", None)
    if meta is None or "TransferSyntaxUID" not in meta:
        image.file_meta = FileMetaDataset()
        implicit = bool(image.original_encoding[0])
        image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return UID(image.file_meta.TransferSyntaxUID)


def _check_decodable(syntax: UID, record: SliceRecord) -> None:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise _failed(f"transfer syntax {syntax.name} is not supported", record) from error
    if not decoder.is_available:
        lossless = "; for JPEG Lossless install the extra trabecula[jpeg]" if syntax in jpeg_lossless.DECODER_DEPENDENCIES else ""
        raise _failed(f"no decoder for transfer syntax {syntax.name}", record, _HINT + lossless)


def _decode(image: Dataset, record: SliceRecord, syntax: UID) -> DecodedSlice:
    # Unused high bits are cleared only after the padding was found: GE writes 63536 into images of 12 bits stored.
    options: dict[str, Any] = {} if syntax.is_encapsulated else {"correct_unused_bits": False}
    try:
        stored: Stored = pixel_array(image, index=record.frame, raw=True, **options)
    except Exception as error:  # each decoder plugin has its own exceptions
        what = f"pixel data of transfer syntax {syntax.name} are cut, damaged or of a variant that is not supported"
        raise _failed(what, record) from error
    if stored.shape != (record.rows, record.columns):
        raise _failed("the pixel data do not have the size that the header says", record)
    padding = _padding_mask(stored, record)
    if not syntax.is_encapsulated:
        stored = _without_unused_bits(stored, record.header)
    return _to_hu(stored, padding, record)


def _without_unused_bits(stored: Stored, header: Dataset) -> Stored:
    unused = stored.dtype.itemsize * 8 - int(header.get("BitsStored", 0) or stored.dtype.itemsize * 8)
    return np.right_shift(np.left_shift(stored, unused), unused) if unused > 0 else stored


def _padding_mask(stored: Stored, record: SliceRecord) -> NDArray[np.bool_] | None:
    """Pixels that the header declares as padding (PixelPaddingValue, PixelPaddingRangeLimit), or None.

    A padding value inside the range of tissue (0 with intercept 0, say) is believed only where it touches the image's edge, for
    padding lies outside the reconstruction circle and never inside the patient.
    """
    value = _in_pixel_representation(record.header, 0x00280120, stored.dtype)
    if value is None:
        return None
    limit = _in_pixel_representation(record.header, 0x00280121, stored.dtype)
    low, high = sorted((value, limit if limit is not None else value))
    mask: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    if not mask.any():
        return None
    value_hu = value * (record.slope or 1.0) + (record.intercept or 0.0)
    if _PADDING_IN_AIR_HU < value_hu < _PADDING_ABOVE_HU:
        regions, _ = ndimage.label(mask)
        edge = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
        mask = np.isin(regions, edge[edge > 0])
    return mask


def _in_pixel_representation(header: Dataset, tag: int, kind: np.dtype[Any]) -> int | None:
    """A padding element read with the sign of the pixels: its VR is ambiguous and often wrong (63536 for -2000)."""
    if Tag(tag) not in header:
        return None
    element = header.get_item(Tag(tag))
    value = element.value if element is not None else None
    if isinstance(value, bytes):
        if len(value) < 2:
            return None
        value = struct.unpack("<H" if getattr(element, "is_little_endian", True) else ">H", value[:2])[0]
    if not isinstance(value, int):
        return None
    bits = kind.itemsize * 8
    value &= (1 << bits) - 1
    return value - (1 << bits) if kind.kind == "i" and value >= 1 << (bits - 1) else value


def _to_hu(stored: Stored, padding: NDArray[np.bool_] | None, record: SliceRecord) -> DecodedSlice:
    slope, intercept = record.slope or 1.0, record.intercept or 0.0
    if slope == 1.0 and intercept == int(intercept):
        hu = stored.astype(np.int32) + int(intercept)
    else:
        hu = np.rint(stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)).astype(np.int32)
    # Unsigned pixels with a negative fill wrap to more than int16 holds: that is padding too.
    empty = (hu < _NO_SCANNED_HU) | (hu > np.iinfo(np.int16).max)
    if padding is not None:
        empty |= padding
    padded = int(np.count_nonzero(empty))
    if padded:
        hu[empty] = AIR_HU
    np.maximum(hu, AIR_HU, out=hu)
    part = (slice(None, None, _HISTOGRAM_STRIDE),) * 2
    measured = hu[part][~empty[part]] if padded else hu[part].ravel()
    bins = np.minimum(measured - HISTOGRAM_LOW_HU, HISTOGRAM_BINS - 1)
    return DecodedSlice(hu=hu.astype(np.int16), padded=padded, histogram=np.bincount(bins, minlength=HISTOGRAM_BINS))
