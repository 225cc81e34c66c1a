"""Destinations over HTTP and MLLP against real peers on loopback: what counts as delivered, what is tried again, what a person must see."""

import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from builders.peers import need_program
from builders.results import Column, column_input
from builders.small_ct import small_ct
from trabecula_service.deliver.destinations.fhir import Fhir
from trabecula_service.deliver.destinations.mllp import Mllp
from trabecula_service.deliver.destinations.stow_rs import StowRs
from trabecula_service.deliver.destinations.stow_rs import outcome_of as stow_outcome
from trabecula_service.deliver.destinations.webhook import Webhook
from trabecula_service.deliver.port import Accepted, Destination, Item, Refused, Unavailable
from trabecula_service.render.fhir_bundle import report_fhir
from trabecula_service.render.hl7_message import report_oru
from trabecula_service.settings.deliver import FhirDestination, MllpDestination, StowDestination, WebhookDestination

SMALL = Column(names=("L1", "L2"), spacing_mm=(4.0, 4.0, 4.0), size_xy=(32, 40))
Answer = Callable[[dict[str, str], bytes], tuple[int, bytes]]


@dataclass
class WebServer:
    """A server on loopback; ``answer`` decides status and body, and what came is kept."""

    answer: Answer
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.requests.append((self.path, headers, body))
                status, content = outer.answer(headers, body)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/base"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web() -> Iterator[Callable[[Answer], WebServer]]:
    started: list[WebServer] = []

    def start(answer: Answer) -> WebServer:
        started.append(WebServer(answer))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    folder, made = tmp_path_factory.mktemp("documents"), column_input(SMALL)
    (folder / "report.oru.hl7").write_bytes(report_oru(made))
    (folder / "report.fhir.json").write_bytes(report_fhir(made))
    (folder / "result.json").write_text(made.result.to_json())
    small_ct(slices=1)[0].save_as(folder / "capture.sc.dcm", enforce_file_format=True)
    (folder / "secret").write_bytes(b"0123456789abcdef0123\n")
    return {
        path.name: Item(path=path, document=path.name, study_id="0123456789abcdef", version_number=2)
        for path in folder.iterdir()
        if path.name != "secret"
    }


def destination(kind: str, url: str, items: dict[str, Item]) -> tuple[Destination, Item]:
    if kind == "fhir":
        return Fhir(FhirDestination(kind="fhir", url=url, timeout_seconds=2)), items["report.fhir.json"]
    if kind == "stow-rs":
        return StowRs(StowDestination(kind="stow-rs", url=url, timeout_seconds=2)), items["capture.sc.dcm"]
    secret = items["result.json"].path.with_name("secret")
    return Webhook(WebhookDestination(kind="webhook", url=url, secret_file=secret, timeout_seconds=2)), items["result.json"]


KINDS = ("fhir", "stow-rs", "webhook")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "outcome"),
    [(500, Unavailable), (503, Unavailable), (429, Unavailable), (408, Unavailable), (400, Refused), (401, Refused), (404, Refused)],
)
def test_the_servers_own_trouble_passes_and_a_refusal_is_shown(
    kind: str, status: int, outcome: type, web: Callable[[Answer], WebServer], items: dict[str, Item]
) -> None:
    target, item = destination(kind, web(lambda _headers, _body: (status, b"")).url, items)
    assert type(target.deliver(item)) is outcome


@pytest.mark.parametrize("kind", KINDS)
def test_a_redirect_is_not_followed(kind: str, web: Callable[[Answer], WebServer], items: dict[str, Item]) -> None:
    server = web(lambda _headers, _body: (307, b""))
    target, item = destination(kind, server.url, items)
    assert isinstance(target.deliver(item), Refused)
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_down_or_silent_is_unavailable(kind: str, items: dict[str, Item]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        target, item = destination(kind, f"http://127.0.0.1:{port}/base", items)
        assert isinstance(target.deliver(item), Unavailable)
        listener.listen()
        started = time.monotonic()
        assert isinstance(target.deliver(item), Unavailable)
        assert time.monotonic() - started < 20


def transaction_answer(statuses: list[str]) -> bytes:
    return json.dumps(
        {"resourceType": "Bundle", "type": "transaction-response", "entry": [{"response": {"status": s}} for s in statuses]}
    ).encode()


def test_a_bundle_is_delivered_only_when_every_resource_was_written(web: Callable[[Answer], WebServer], items: dict[str, Item]) -> None:
    from fhir.resources.R4B.bundle import Bundle

    count = len(json.loads(items["report.fhir.json"].path.read_bytes())["entry"])
    answers = {
        "all": (transaction_answer(["201 Created"] * count), Accepted),
        "one refused": (transaction_answer(["201 Created"] * (count - 1) + ["422 Unprocessable"]), Refused),
        "one missing": (transaction_answer(["200"] * (count - 1)), Unavailable),
        "a page": (b"<html>", Unavailable),
    }
    for body, outcome in answers.values():
        server = web(lambda _headers, _body, body=body: (200, body))
        target, item = destination("fhir", server.url, items)
        assert type(target.deliver(item)) is outcome
        ((path, headers, sent),) = server.requests
        assert (path, headers["content-type"]) == ("/base", "application/fhir+json")
        Bundle.model_validate_json(sent)


def test_a_token_is_read_anew_for_each_try(web: Callable[[Answer], WebServer], items: dict[str, Item], tmp_path: Path) -> None:
    server, token = web(lambda _headers, _body: (503, b"")), tmp_path / "token"
    target = Fhir(FhirDestination(kind="fhir", url=server.url, bearer_token_file=token))
    assert isinstance(target.deliver(items["report.fhir.json"]), Unavailable)
    for value in ("first", "second"):
        token.write_text(value + "\n")
        target.deliver(items["report.fhir.json"])
    assert [headers["authorization"] for _, headers, _ in server.requests] == ["Bearer first", "Bearer second"]


def test_a_webhook_is_signed_over_time_and_body_and_names_the_delivery(web: Callable[[Answer], WebServer], items: dict[str, Item]) -> None:
    server = web(lambda _headers, _body: (204, b""))
    secret = items["result.json"].path.with_name("secret")
    target = Webhook(WebhookDestination(kind="webhook", url=server.url, secret_file=secret), clock=lambda: 1_700_000_000.9)
    assert target.deliver(items["result.json"]) == Accepted("taken (HTTP 204)")
    ((_, headers, body),) = server.requests
    expected = hmac.new(b"0123456789abcdef0123", b"1700000000." + body, hashlib.sha256).hexdigest()
    assert headers["trabecula-signature"] == f"t=1700000000,v1={expected}"
    assert headers["trabecula-delivery"] == "0123456789abcdef-v2-result.json"
    said = json.loads(body)
    assert said["sha256"] == hashlib.sha256(items["result.json"].path.read_bytes()).hexdigest()
    assert said["result"]["schema"] == "trabecula.result/1"


def test_a_webhook_without_a_good_secret_sends_nothing(web: Callable[[Answer], WebServer], items: dict[str, Item], tmp_path: Path) -> None:
    server = web(lambda _headers, _body: (204, b""))
    target = Webhook(WebhookDestination(kind="webhook", url=server.url, secret_file=tmp_path / "secret"))
    assert isinstance(target.deliver(items["result.json"]), Unavailable)
    (tmp_path / "secret").write_text("short")
    assert isinstance(target.deliver(items["result.json"]), Unavailable)
    assert server.requests == []


UID = "1.2.3"
STORED = {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [UID]}}]}}


def stow_failed(reason: int) -> dict[str, Any]:
    return {"00081198": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [UID]}, "00081197": {"vr": "US", "Value": [reason]}}]}}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (STORED, Accepted),
        ([STORED], Accepted),
        (stow_failed(0xA700), Unavailable),
        (stow_failed(0x0110), Refused),
        (stow_failed(0xC000), Refused),
        (stow_failed(0x0111), Accepted),
        ({**STORED, **stow_failed(0xC000)}, Refused),
        ({}, Unavailable),
        ([], Unavailable),
        ("text", Unavailable),
    ],
)
def test_only_an_answer_that_names_the_object_as_stored_counts(answer: object, outcome: type) -> None:
    assert type(stow_outcome(json.dumps(answer).encode(), UID)) is outcome


ORTHANC_ROUND = """
ip link set lo up
Orthanc orthanc.json >orthanc.log 2>&1 &
for i in $(seq 100); do curl -s -o /dev/null localhost:{port}/system && break; sleep 0.1; done
{python} {script} send {document} http://localhost:{port}/dicom-web >answer.txt 2>&1
curl -s localhost:{port}/instances?expand >instances.json
kill %1; wait
"""


@pytest.mark.peer
def test_orthanc_takes_an_object_by_stow_rs_and_twice_does_no_harm(items: dict[str, Item], tmp_path: Path) -> None:
    for program in ("Orthanc", "unshare", "curl"):
        need_program(program)
    plugin = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    if not plugin.exists():
        pytest.skip("Orthanc's DICOMweb plugin is not installed (orthanc-dicomweb)")
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network name space of our own here, and Orthanc binds to every address")
    store, port = str(tmp_path / "store"), 18042
    settings = {
        "HttpPort": port, "DicomPort": 14242, "StorageDirectory": store, "IndexDirectory": store, "AuthenticationEnabled": False,
        "Plugins": [str(plugin)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    script = ORTHANC_ROUND.format(port=port, python=sys.executable, script=Path(__file__), document=items["capture.sc.dcm"].path)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    subprocess.run(["unshare", "-n", "bash", "-c", script], cwd=tmp_path, env=environment, check=False, timeout=120)
    assert (tmp_path / "answer.txt").read_text().split("\n")[:2] == ["Accepted(note='stored')"] * 2
    assert len(json.loads((tmp_path / "instances.json").read_text())) == 1


def acknowledge(code: str, control_id: str = "") -> Callable[[bytes], bytes]:
    """A receiver built on hl7apy's parser: it answers to the message that it understood."""

    def answer(frame: bytes) -> bytes:
        from hl7apy.parser import parse_message

        message = parse_message(frame.strip(b"\x0b\x1c\r").decode())
        known = control_id or message.msh.msh_10.value
        return f"\x0bMSH|^~\\&|HIS||TRABECULA||20260101||ACK^R01^ACK|1|P|2.5.1\rMSA|{code}|{known}\r\x1c\r".encode()

    return answer


@dataclass
class MllpPeer:
    """Takes one message per connection; sends its answer in two parts, as real networks do."""

    answer: Callable[[bytes], bytes]
    frames: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            frame = b""
            while not frame.endswith(b"\x1c\r"):
                frame += connection.recv(4096)
            self.frames.append(frame)
            answer = self.answer(frame)
            connection.sendall(answer[:7])
            time.sleep(0.05)
            connection.sendall(answer[7:])
        self.listener.close()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (acknowledge("AA"), Accepted),
        (acknowledge("CA"), Accepted),
        (acknowledge("AE"), Refused),
        (acknowledge("AR"), Refused),
        (acknowledge("AA", "another"), Unavailable),
        (lambda _frame: b"", Unavailable),
        (lambda _frame: b"HTTP/1.1 400 Bad Request\r\n\r\n", Unavailable),
    ],
)
def test_only_an_acknowledgement_of_this_message_counts(answer: Callable[[bytes], bytes], outcome: type, items: dict[str, Item]) -> None:
    peer = MllpPeer(answer)
    target = Mllp(MllpDestination(kind="mllp", host="127.0.0.1", port=peer.port, timeout_seconds=3))
    assert type(target.deliver(items["report.oru.hl7"])) is outcome
    assert peer.frames == [b"\x0b" + items["report.oru.hl7"].path.read_bytes() + b"\x1c\r"]


def test_a_receiver_that_is_down_or_silent_is_unavailable(items: dict[str, Item]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        target = Mllp(MllpDestination(kind="mllp", host="127.0.0.1", port=listener.getsockname()[1], timeout_seconds=1))
        assert isinstance(target.deliver(items["report.oru.hl7"]), Unavailable)
        listener.listen()
        assert target.deliver(items["report.oru.hl7"]) == Unavailable("the receiver does not answer")


def _send_twice(document: Path, url: str) -> None:
    target = StowRs(StowDestination(kind="stow-rs", url=url))
    for _ in range(2):
        print(target.deliver(Item(path=document, document=document.name, study_id="0" * 16, version_number=1)))  # noqa: T201


if __name__ == "__main__":
    _send_twice(Path(sys.argv[2]), sys.argv[3])
