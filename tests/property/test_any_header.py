"""Any byte string that is sent is answered for; none ends the listener."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from builders.small_ct import small_ct
from trabecula_service.receive.header import ObjectHeader, Unreadable, read_header

SYNTAXES = st.sampled_from(
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, "1.2.840.10008.1.2.4.80", "1.2.3"]
)
GOOD = encode(small_ct(slices=1)[0], False, True) or b""


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600), SYNTAXES)
def test_any_bytes_are_a_header_or_unreadable_with_a_reason(encoded: bytes, syntax: str) -> None:
    header = read_header(encoded, syntax)
    assert isinstance(header, ObjectHeader) or header.reason


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_header_never_raises(position: int, damage: bytes) -> None:
    damaged = GOOD[:position] + damage + GOOD[position + len(damage) :]
    assert isinstance(read_header(damaged, ExplicitVRLittleEndian), ObjectHeader | Unreadable)


def test_a_deflated_bomb_is_read_only_at_its_beginning() -> None:
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(GOOD) + packer.compress(bytes(50 * 1024 * 1024)) + packer.flush()
    assert len(bomb) < 1024 * 1024
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = read_header(bomb, DeflatedExplicitVRLittleEndian)
    assert isinstance(header, ObjectHeader)
    assert header.patient_id == "4711"
