"""The page under https of its own: nothing of it goes over the network in the clear."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from builders.certificates import Authority
from builders.service import running_service, wait_ticks
from trabecula_morphometry.errors import SettingsError
from trabecula_service.api.server import WebServer
from trabecula_service.client.client import TrabeculaClient
from trabecula_service.ledger.database import open_ledger
from trabecula_service.security.keys import new_key
from trabecula_service.security.rights import UserRole
from trabecula_service.settings.access import ApiSettings
from trabecula_service.settings.read import read_settings

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trust(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.pair.certificate))


async def _application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await PlainTextResponse(Request(scope).url.scheme)(scope, receive, send)


@pytest.fixture
def server(authority: Authority) -> Iterator[WebServer]:
    pair = authority.issue("page")
    opened = WebServer(_application, ApiSettings(port=0, tls_certificate=pair.certificate, tls_key=pair.key, redirect_port=0))
    opened.start()
    yield opened
    opened.stop()


def test_the_page_answers_by_https_only(server: WebServer, trust: ssl.SSLContext) -> None:
    assert server.url.startswith("https://127.0.0.1:")
    assert httpx2.get(server.url, verify=trust).text == "https"
    with pytest.raises(httpx2.TransportError):
        httpx2.get(server.url.replace("https", "http"))


def test_a_call_in_the_clear_is_sent_to_the_same_page_by_https(server: WebServer, trust: ssl.SSLContext) -> None:
    plain = f"http://127.0.0.1:{server.redirect_port}"
    answer = httpx2.get(f"{plain}/studies/1?version=2", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (308, f"{server.url}/studies/1?version=2")
    assert httpx2.get(answer.headers["location"], verify=trust).status_code == 200


def test_the_redirect_leads_nowhere_else_and_repeats_no_form(server: WebServer) -> None:
    plain = f"http://127.0.0.1:{server.redirect_port}/login"
    assert httpx2.get(plain, headers={"Host": "elsewhere.example"}).status_code == 421
    assert httpx2.post(plain, data={"key": "secret"}).status_code == 403


def test_a_renewed_certificate_is_taken_without_a_restart(server: WebServer, authority: Authority, trust: ssl.SSLContext) -> None:
    before = _serial(server, trust)
    assert _serial(server, trust) == before
    authority.issue("page")
    for _ in wait_ticks(20):
        if _serial(server, trust) != before:
            return
    raise AssertionError("still the old certificate")


def _serial(server: WebServer, trust: ssl.SSLContext) -> str:
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain, trust.wrap_socket(plain, server_hostname="127.0.0.1") as own:
        return str((own.getpeercert() or {})["serialNumber"])


def test_the_session_cookie_is_secure_and_browsers_are_told_to_stay(authority: Authority, trust: ssl.SSLContext, tmp_path: Path) -> None:
    pair = authority.issue("service")
    more = f'tls_certificate = "{pair.certificate}"\ntls_key = "{pair.key}"\n[auth]\nloopback_role = "none"\n'
    with running_service(tmp_path, more=more) as service:
        ledger = open_ledger(tmp_path / "data" / "ledger.sqlite")
        with ledger.write() as connection:
            key = new_key(connection, name="Rita", role=UserRole.VIEWER, now=0.0, by="test")
        ledger.close()
        with httpx2.Client(base_url=service.url, verify=trust) as browser:
            answer = browser.post("/login", data={"key": key, "next": "/"}, headers={"Origin": service.url})
            assert answer.status_code == 303, answer.text
            cookie = answer.headers["set-cookie"].lower()
            assert all(word in cookie for word in ("; secure", "; httponly", "; samesite=lax"))
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            assert browser.get("/").status_code == 200
        with TrabeculaClient(service.url, api_key=key, ca_file=authority.pair.certificate) as program:
            assert list(program.studies()) == []


def test_without_a_certificate_nothing_is_said_about_https(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        assert "strict-transport-security" not in service.get("/").headers


@pytest.mark.parametrize("lines", ['tls_key = "k.pem"', 'tls_certificate = "c.pem"', "redirect_port = 80"])
def test_half_a_setting_is_named(lines: str, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(f"[api]\n{lines}\n")
    with pytest.raises(SettingsError, match=r"tls_certificate and tls_key"):
        read_settings(tmp_path / "settings.toml")


def test_files_that_cannot_be_used_stop_the_start_by_name(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("no certificate")
    with pytest.raises(SettingsError, match=r"api\.tls_certificate, api\.tls_key"):
        WebServer(_application, ApiSettings(port=0, tls_certificate=tmp_path / "c.pem", tls_key=tmp_path / "c.pem"))
