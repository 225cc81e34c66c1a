"""The images of the reading room, handed on as they lie on the disk: the browser unpacks and windows them itself."""

import os
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Response
from fastapi import Path as PathParameter

from trabecula_service.api.context import WebContext
from trabecula_service.api.routes import StudyId, VersionNumber
from trabecula_service.ledger.queries import find_document
from trabecula_service.render.reading_images import FILE_NAME, MANIFEST, member_name

_LOCAL_HEADER_BYTES = 30
"""Fixed part of a member's header in a zip file (APPNOTE 4.3.7); name and extra field follow."""

StackName = Literal["sagittal", "coronal", "axial"]


@dataclass(frozen=True, slots=True)
class _Member:
    offset: int
    size: int


def build_image_routes(context: WebContext) -> APIRouter:
    """``/studies/ID/versions/N/images``: the manifest and single planes."""
    router = APIRouter(include_in_schema=False, prefix="/studies/{study_id}/versions/{version}/images")

    def archive(study_id: str, version: int) -> Path:
        path = images_path(context, study_id, version)
        if path is None:
            raise HTTPException(404, "this version has no images for the reading room")
        return path

    @router.get("/manifest.json")
    def manifest(study_id: StudyId, version: VersionNumber) -> Response:
        return Response(_read(archive(study_id, version), MANIFEST), media_type="application/json")

    @router.get("/{stack}/{index}")
    def plane(study_id: StudyId, version: VersionNumber, stack: StackName, index: Annotated[int, PathParameter(ge=0, le=9999)]) -> Response:
        packed = _read(archive(study_id, version), member_name(stack, index))
        return Response(packed, media_type="application/octet-stream", headers={"Content-Encoding": "gzip"})

    return router


def images_path(context: WebContext, study_id: str, version: int) -> Path | None:
    """File with the images of a version, None where it has none (nothing measured, or made by an earlier release)."""
    with context.ledger.read() as connection:
        document = find_document(connection, study_id, version, FILE_NAME)
    try:
        return context.local(document.path) if document else None
    except OSError:
        return None


def _read(path: Path, name: str) -> bytes:
    try:
        member = _members(path, path.stat().st_mtime_ns).get(name)
        if member is None:
            raise HTTPException(404, "there is no such image")
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise HTTPException(404, "the images of this version are no longer there") from error
    try:
        return os.pread(descriptor, member.size, member.offset)
    finally:
        os.close(descriptor)


@lru_cache(maxsize=32)
def _members(path: Path, _changed_ns: int) -> dict[str, _Member]:
    """Where each member lies; they are stored, so their bytes are the file's."""
    with zipfile.ZipFile(path) as archive:
        return {
            info.filename: _Member(info.header_offset + _LOCAL_HEADER_BYTES + len(info.filename.encode()), info.file_size)
            for info in archive.infolist()
        }
