"""Any byte string that is sent is answered for; none ends the listener."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from builders.small_ct import small_ct
from trabecula_service.receive.header import ObjectHeader, Unreadable, parse_header, read_header, scan_header

SYNTAXES = st.sampled_from(
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, "1.2.840.10008.1.2.4.80", "1.2.3"]
)
GOOD = encode(small_ct(slices=1)[0], False, True) or b""
GOOD_IMPLICIT = encode(small_ct(slices=1)[0], True, True) or b""


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


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=8), st.integers(0, 4), st.booleans())
def test_a_quick_look_says_what_parsing_says(position: int, damage: bytes, cut: int, implicit: bool) -> None:
    good = GOOD_IMPLICIT if implicit else GOOD
    damaged = good[:position] + damage + good[position + cut :]
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    quickly = scan_header(damaged, syntax)
    assert quickly is None or quickly == parse_header(damaged, syntax, whole=True)


def test_a_plain_header_is_read_quickly_and_one_with_umlauts_is_parsed() -> None:
    assert scan_header(GOOD, ExplicitVRLittleEndian) == parse_header(GOOD, ExplicitVRLittleEndian, whole=True)
    umlauts = encode(small_ct(slices=1, PatientName="Müller^Jörg", SpecificCharacterSet="ISO_IR 192")[0], False, True) or b""
    assert scan_header(umlauts, ExplicitVRLittleEndian) is None
    header = read_header(umlauts, ExplicitVRLittleEndian)
    assert isinstance(header, ObjectHeader)
    assert header.patient_name == "Müller^Jörg"


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
