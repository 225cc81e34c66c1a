"""File meta information (group 0002, PS3.10 7.1) around a data set that is stored as it came."""

import struct

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION


def encode_file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """The encoded group; whatever the sender's UIDs are, it can be read back."""
    elements = b"".join(
        (
            struct.pack("<HH2sHL", 0x0002, 0x0001, b"OB", 0, 2) + b"\x00\x01",
            _text(0x0002, b"UI", sop_class_uid),
            _text(0x0003, b"UI", sop_instance_uid),
            _text(0x0010, b"UI", transfer_syntax_uid),
            _text(0x0012, b"UI", str(PYNETDICOM_IMPLEMENTATION_UID)),
            _text(0x0013, b"SH", str(PYNETDICOM_IMPLEMENTATION_VERSION)),
        )
    )
    return struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(elements)) + elements


def _text(element: int, vr: bytes, value: str) -> bytes:
    content = value.encode("ascii", "replace")
    content += (b"\x00" if vr == b"UI" else b" ") * (len(content) % 2)
    return struct.pack("<HH2sH", 0x0002, element, vr, len(content)) + content
