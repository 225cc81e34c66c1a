"""Encrypted associations: who gets one, and what a renewed certificate changes."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom import AE, build_context

from builders.certificates import Authority, Pair
from builders.service import send, wait_ticks
from builders.small_ct import small_ct
from contract.test_store_scp import Station
from trabecula_morphometry.errors import SettingsError
from trabecula_service.requestor import associate

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def encrypted(tmp_path: Path, authority: Authority) -> Iterator[Station]:
    pair = authority.issue("listener")
    station = Station(tmp_path, tls_certificate=pair.certificate, tls_key=pair.key, tls_client_ca=authority.pair.certificate)
    yield station
    station.close()


def _context(authority: Authority, own: Pair | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.pair.certificate))
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


def _send(port: int, context: ssl.SSLContext) -> list[int]:
    images = small_ct(slices=2)
    contexts = [build_context(images[0].SOPClassUID, images[0].file_meta.TransferSyntaxUID)]
    association = associate(
        AE(ae_title="SCANNER"), "127.0.0.1", port, contexts=contexts, ae_title="TRABECULA", tls_args=(context, "127.0.0.1")
    )
    if not association.is_established:
        return []
    statuses = [int(association.send_c_store(image).Status) for image in images]
    association.release()
    return statuses


def _serial(port: int, context: ssl.SSLContext) -> str:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
    ):
        return str((encrypted.getpeercert() or {})["serialNumber"])


def test_a_sender_with_a_certificate_is_served(encrypted: Station, authority: Authority) -> None:
    assert _send(encrypted.port, _context(authority, authority.issue("scanner"))) == [0, 0]
    assert encrypted.counts() == {"ct": 2}


def test_a_sender_without_a_certificate_or_without_tls_gets_nothing(encrypted: Station, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger").issue("stranger")
    assert _send(encrypted.port, _context(authority, None)) == []
    assert _send(encrypted.port, _context(authority, stranger)) == []
    assert send(encrypted.port, small_ct(slices=1)) == []
    assert encrypted.counts() == {}


def test_a_renewed_certificate_is_shown_without_a_restart(encrypted: Station, authority: Authority) -> None:
    context = _context(authority, authority.issue("scanner"))
    before = _serial(encrypted.port, context)
    authority.issue("listener")
    assert _serial(encrypted.port, context) != before


def test_a_broken_renewal_leaves_the_present_certificate(encrypted: Station, authority: Authority) -> None:
    context = _context(authority, authority.issue("scanner"))
    before = _serial(encrypted.port, context)
    authority.pair.certificate.parent.joinpath("listener.pem").write_text("not a certificate")
    assert _serial(encrypted.port, context) == before


def test_a_caller_that_says_nothing_holds_up_no_other(encrypted: Station, authority: Authority) -> None:
    with socket.create_connection(("127.0.0.1", encrypted.port)):
        assert _send(encrypted.port, _context(authority, authority.issue("scanner"))) == [0, 0]


def test_files_that_do_not_belong_together_stop_the_start(tmp_path: Path, authority: Authority) -> None:
    one, other = authority.issue("one"), authority.issue("other")
    with pytest.raises(SettingsError, match="TLS files cannot be used"):
        Station(tmp_path, tls_certificate=one.certificate, tls_key=other.key)


def test_an_idle_association_is_ended(tmp_path: Path) -> None:
    station = Station(tmp_path, idle_seconds=0.5)
    try:
        association = associate(
            AE(ae_title="SCANNER"), "127.0.0.1", station.port, contexts=[build_context("1.2.840.10008.1.1")], ae_title="TRABECULA"
        )
        assert association.is_established
        for _ in wait_ticks(30):
            if not association.is_established:
                break
        assert association.is_aborted
    finally:
        station.close()
