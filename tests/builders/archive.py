"""An archive on loopback with a few studies, asked by C-FIND and C-MOVE or by QIDO-RS and WADO-RS."""

import io
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pynetdicom import AE, StoragePresentationContexts, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelMove

_BOUNDARY = "part--of-the-answer"


@dataclass
class FakeArchive:
    """Studies by their UID; those in ``lost`` are found, but cannot be sent."""

    studies: dict[str, Sequence[Dataset]]
    destinations: dict[str, int]
    lost: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    port: int = 0
    url: str = ""

    def of_day(self, day: str) -> list[Dataset]:
        """What a search for CT studies of one day gives."""
        found = []
        for uid, images in self.studies.items():
            if images[0].StudyDate == day:
                answer = Dataset()
                answer.QueryRetrieveLevel, answer.StudyInstanceUID, answer.StudyDate = "STUDY", uid, day
                answer.ModalitiesInStudy = [images[0].Modality]
                found.append(answer)
        return found


@contextmanager
def dimse_archive(studies: dict[str, Sequence[Dataset]], destinations: dict[str, int]) -> Iterator[FakeArchive]:
    """It knows the AE titles in ``destinations``, each a port of this machine."""
    archive = FakeArchive(studies, destinations)

    def on_find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        for answer in archive.of_day(str(event.identifier.StudyDate)):
            yield 0xFF00, answer

    def on_move(event: Any) -> Iterator[Any]:
        uid = str(event.identifier.StudyInstanceUID)
        archive.asked.append(uid)
        port = archive.destinations.get(str(event.move_destination))
        if port is None:
            yield None, None
            return
        images = archive.studies[uid]
        yield "127.0.0.1", port, {"contexts": StoragePresentationContexts[:128]}
        yield len(images)
        if uid in archive.lost:
            yield 0xC000, None
            return
        for image in images:
            yield 0xFF00, image

    entity = AE(ae_title="ARCHIVE")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelMove)
    handlers = [(evt.EVT_C_FIND, on_find), (evt.EVT_C_MOVE, on_move)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    archive.port = server.socket.getsockname()[1]
    try:
        yield archive
    finally:
        entity.shutdown()


@contextmanager
def dicomweb_archive(studies: dict[str, Sequence[Dataset]]) -> Iterator[FakeArchive]:
    """The same over HTTP."""
    archive = FakeArchive(studies, {})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path.endswith("/studies"):
                query = parse_qs(parts.query)
                rows = [answer.to_json_dict() for answer in archive.of_day(query["StudyDate"][0])]
                start = int(query["offset"][0])
                self._answer("application/dicom+json", json.dumps(rows[start : start + int(query["limit"][0])]).encode())
                return
            uid = parts.path.rpartition("/")[2]
            archive.asked.append(uid)
            if uid in archive.lost:
                self._answer("text/plain", b"gone", status=404)
                return
            kind = f'multipart/related; type="application/dicom"; boundary="{_BOUNDARY}"'
            self._answer(kind, _multipart(archive.studies[uid]))

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

        def _answer(self, kind: str, body: bytes, *, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    archive.url = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _multipart(images: Sequence[Dataset]) -> bytes:
    body = io.BytesIO()
    for image in images:
        body.write(f"\r\n--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode())
        part = io.BytesIO()
        dcmwrite(part, image, enforce_file_format=True)
        body.write(part.getvalue())
    body.write(f"\r\n--{_BOUNDARY}--\r\n".encode())
    return body.getvalue()
