"""Reads single facts from a DICOM header that may break the standard.

Values are taken from the raw bytes, so that a decimal comma, a wrong VR or an over-long number gives "unknown" instead of an
exception or a warning from the parser.
"""

import math
import struct

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

_BINARY_FORMATS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}


def _raw(header: Dataset, keyword: str) -> tuple[str, bytes | str, bool]:
    """VR, value and byte order of one element; an empty value where the element is missing."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in header:
        return "", "", True
    element = header.get_item(tag)
    if isinstance(element, RawDataElement):
        vr = element.VR if element.VR not in (None, "UN") else dictionary_VR(tag)
        return str(vr), element.value or b"", element.is_little_endian
    if element is None or element.value is None:
        return "", "", True
    value = element.value
    if isinstance(value, bytes):
        return str(element.VR), value, True
    is_several = isinstance(value, (list, tuple)) or (hasattr(value, "__iter__") and not isinstance(value, str))
    return "text", "\\".join(str(part) for part in value) if is_several else str(value), True


def text(header: Dataset, keyword: str) -> str:
    """The element as text, several values parted by a backslash; empty where missing. For codes, UIDs and device names only."""
    _, value, _ = _raw(header, keyword)
    decoded = value.decode("ascii", errors="replace") if isinstance(value, bytes) else value
    return decoded.strip(" \0\r\n\t")


def texts(header: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of an element as text, in order; empty where missing."""
    value = text(header, keyword)
    return tuple(part.strip() for part in value.split("\\")) if value else ()


def numbers(header: Dataset, keyword: str) -> tuple[float, ...]:
    """The values of an element as finite numbers; empty where it is missing or any value is not a number."""
    vr, value, little_endian = _raw(header, keyword)
    if isinstance(value, bytes) and vr.split(" ")[0] in _BINARY_FORMATS:
        code = _BINARY_FORMATS[vr.split(" ")[0]]
        size = struct.calcsize(code)
        found = tuple(float(v[0]) for v in struct.iter_unpack(("<" if little_endian else ">") + code, value[: len(value) // size * size]))
    else:
        parts = texts(header, keyword)
        try:
            found = tuple(float(part) for part in parts)
        except ValueError:
            return ()
    return found if all(math.isfinite(number) for number in found) else ()


def number(header: Dataset, keyword: str) -> float | None:
    """The first value as a finite number, or None."""
    found = numbers(header, keyword)
    return found[0] if found else None


def integer(header: Dataset, keyword: str) -> int | None:
    """The first value as a whole number, or None."""
    found = number(header, keyword)
    return int(found) if found is not None and found == int(found) else None


def uid(header: Dataset, keyword: str, meta_keyword: str = "") -> str:
    """A UID of the data set or, where it was emptied, of the file's meta information; empty where neither has it."""
    value = text(header, keyword)
    meta = getattr(header, "file_meta", None)
    if not value and meta_keyword and meta is not None:
        value = text(meta, meta_keyword)
    return value


def item(header: Dataset, keyword: str) -> Dataset | None:
    """The first item of a sequence, or None where the sequence is missing, empty or unreadable."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in header:
        return None
    sequence = header[tag].value
    return sequence[0] if isinstance(sequence, Sequence) and len(sequence) else None
