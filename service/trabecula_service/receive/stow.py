"""Receiving over the web (STOW-RS, PS3.18 10.5): the same path as C-STORE, part by part to the disk, whatever the size of the request.

``POST /dicom-web/studies`` takes DICOM files as ``multipart/related; type="application/dicom"``. Each part is durable and in the ledger
before the answer names it as stored.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from io import BytesIO
from threading import Lock
from typing import Any

import structlog
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydicom.filereader import read_dataset
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from trabecula_service.api.context import WebContext
from trabecula_service.receive.commits import SharedCommits
from trabecula_service.receive.header import Unreadable, read_header
from trabecula_service.receive.object_store import ObjectStore, ObjectWriter
from trabecula_service.receive.storing import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, Intaker

_DICOM_JSON = "application/dicom+json"
_OTHER_STUDY = 0xA900
"""Data set does not match (PS3.4 table B.2-1): an object of another study than the address names."""
_LONGEST_META_BYTES = 64 * 1024
_META_START = 132
_MOST_PARTS = 100_000

log = structlog.get_logger("trabecula.receive")


@dataclass
class _Outcome:
    """What became of the parts so far: UIDs with 0, or the failure reason."""

    parts: list[tuple[str, str, int]] = field(default_factory=list)

    @property
    def stored(self) -> list[tuple[str, str]]:
        return [(sop_class, instance) for sop_class, instance, reason in self.parts if reason == 0]

    @property
    def failed(self) -> list[tuple[str, str, int]]:
        return [part for part in self.parts if part[2]]


class _Part:
    """One DICOM file on its way: first its file meta information, then the data set to the disk."""

    def __init__(self, intaker: Intaker, study_uid: str | None) -> None:
        self._intaker, self._study_uid = intaker, study_uid
        self._meta = bytearray()
        self._names: tuple[str, str, str] | None = None
        self._writer: ObjectWriter | None = None
        self._reason = 0

    def write(self, data: bytes) -> None:
        if self._reason:
            return
        if self._writer is not None:
            self._append(data)
            return
        self._meta += data
        end = _meta_end(self._meta)
        if end is None:
            return
        if end < 0 or end > _LONGEST_META_BYTES:
            self._reason = CANNOT_UNDERSTAND
        elif len(self._meta) >= end:
            self._open(end)

    def finish(self) -> tuple[str, str, int]:
        """Class, instance and failure reason of the part."""
        sop_class, instance, syntax = self._names or ("", "", "")
        if self._writer is None:
            return sop_class, instance, self._reason or CANNOT_UNDERSTAND
        if self._study_uid is not None:
            header = read_header(bytes(self._writer.head), syntax)
            if isinstance(header, Unreadable) or header.study_instance_uid != self._study_uid:
                self.abandon()
                return sop_class, instance, _OTHER_STUDY
        writer, self._writer = self._writer, None
        if writer.data_bytes == 0:
            writer.discard()
            return sop_class, instance, CANNOT_UNDERSTAND
        try:
            self._intaker.keep(writer, sop_class, instance, syntax, None)
        except (OSError, SQLAlchemyError) as error:
            log.error("object_not_stored", error=type(error).__name__)
            return sop_class, instance, OUT_OF_RESOURCES
        return sop_class, instance, 0

    def abandon(self) -> None:
        """The request ended inside the part."""
        if self._writer is not None:
            self._writer.discard()
            self._writer = None

    def _open(self, end: int) -> None:
        try:
            meta = read_dataset(BytesIO(bytes(self._meta[_META_START:end])), is_implicit_VR=False, is_little_endian=True)
            names = (str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID), str(meta.TransferSyntaxUID))
        # Any byte string can come in, and the parser raises many kinds of errors on them; each means the same to us.
        except Exception:
            self._reason = CANNOT_UNDERSTAND
            return
        self._names = names
        if not self._intaker.has_room():
            log.error("disk_reserve_reached")
            self._reason = OUT_OF_RESOURCES
            return
        try:
            self._writer = self._intaker.begin(*names)
        except OSError as error:
            log.error("object_not_stored", error=type(error).__name__)
            self._reason = OUT_OF_RESOURCES
            return
        self._append(bytes(self._meta[end:]))

    def _append(self, data: bytes) -> None:
        if self._writer is None:
            return
        try:
            self._writer.write(data)
        except OSError as error:
            log.error("object_not_stored", error=type(error).__name__)
            self._writer, self._reason = None, OUT_OF_RESOURCES


class _Body:
    """Parses a request as it comes."""

    def __init__(self, boundary: str, intaker: Intaker, study_uid: str | None) -> None:
        self.outcome = _Outcome()
        self._intaker, self._study_uid = intaker, study_uid
        self._part: _Part | None = None
        callbacks: dict[str, Callable[..., None]] = {"on_part_begin": self._begin, "on_part_data": self._data, "on_part_end": self._end}
        self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]

    def write(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def abandon(self) -> None:
        if self._part is not None:
            self._part.abandon()

    def _begin(self) -> None:
        if len(self.outcome.parts) >= _MOST_PARTS:
            raise FormParserError("too many parts")
        self._part = _Part(self._intaker, self._study_uid)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part.write(data[start:end])

    def _end(self) -> None:
        if self._part is not None:
            part, self._part = self._part, None
            self.outcome.parts.append(part.finish())


class _Door:
    """The way into the store, opened with the first request."""

    def __init__(self, context: WebContext) -> None:
        self._context, self._lock = context, Lock()
        self._intaker: Intaker | None = None

    def intaker(self) -> Intaker:
        with self._lock:
            if self._intaker is None:
                context = self._context
                commits = SharedCommits(context.ledger)
                reserve = context.settings.receive.reserve_free_gib
                store = ObjectStore(context.data / "objects", context.bucket)
                self._intaker = Intaker(store, commits, data=context.data, reserve_free_gib=reserve, clock=context.clock)
            return self._intaker


def build_stow(context: WebContext) -> APIRouter:
    """The routes."""
    router, door = APIRouter(), _Door(context)
    body: dict[str, Any] = {"requestBody": {"content": {"multipart/related": {"schema": {"type": "string", "format": "binary"}}}}}

    @router.post("/dicom-web/studies", openapi_extra=body)
    async def store(request: Request) -> Response:
        """Store DICOM objects (STOW-RS)."""
        return await _store(request, await run_in_threadpool(door.intaker), None)

    @router.post("/dicom-web/studies/{study_instance_uid}", openapi_extra=body)
    async def store_study(request: Request, study_instance_uid: str) -> Response:
        """Store DICOM objects of one study (STOW-RS)."""
        return await _store(request, await run_in_threadpool(door.intaker), study_instance_uid)

    return router


async def _store(request: Request, intaker: Intaker, study_uid: str | None) -> Response:
    parsed = Message()
    parsed["Content-Type"] = request.headers.get("content-type", "").replace("\r", " ").replace("\n", " ")
    boundary, inner = parsed.get_param("boundary"), parsed.get_param("type")
    if parsed.get_content_type() != "multipart/related" or inner not in (None, "application/dicom") or not isinstance(boundary, str):
        raise HTTPException(415, 'send multipart/related; type="application/dicom"; boundary=...')
    try:
        body = _Body(boundary, intaker, study_uid)
    except (FormParserError, ValueError) as error:
        raise HTTPException(400, "the boundary cannot be used") from error
    try:
        async for chunk in request.stream():
            # Writing and syncing wait for the disk; other requests must not.
            await run_in_threadpool(body.write, chunk)
    except FormParserError as error:
        if not body.outcome.parts:
            raise HTTPException(400, "the request is no sound multipart message") from error
    finally:
        body.abandon()
    return _answer(body.outcome)


def _answer(outcome: _Outcome) -> Response:
    if not outcome.parts:
        raise HTTPException(400, "the request holds no DICOM object")
    stored, failed = outcome.stored, outcome.failed
    content: dict[str, Any] = {}
    if stored:
        content["00081199"] = {"vr": "SQ", "Value": [_item(*pair) for pair in stored]}
    if failed:
        content["00081198"] = {"vr": "SQ", "Value": [_item(sop_class, instance, reason) for sop_class, instance, reason in failed]}
    # PS3.18 table 10.5.3-1.
    status = 200 if not failed else 202 if stored else 409
    return JSONResponse(content, status_code=status, media_type=_DICOM_JSON)


def _item(sop_class: str, instance: str, reason: int | None = None) -> dict[str, Any]:
    item: dict[str, Any] = {"00081150": {"vr": "UI", "Value": [sop_class]}, "00081155": {"vr": "UI", "Value": [instance]}}
    if reason is not None:
        item["00081197"] = {"vr": "US", "Value": [reason]}
    return item


def _meta_end(beginning: bytearray) -> int | None:
    """Where the file meta information ends; None if that cannot be said yet, -1 if there is none."""
    if len(beginning) < _META_START + 12:
        return None
    group_length = beginning[_META_START : _META_START + 8]
    if beginning[128:132] != b"DICM" or group_length != b"\x02\x00\x00\x00UL\x04\x00":
        return -1
    return _META_START + 12 + int.from_bytes(beginning[_META_START + 8 : _META_START + 12], "little")
