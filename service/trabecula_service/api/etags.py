"""Answers that a program need not fetch twice: an ETag for each, and 304 where the program has it already."""

import hashlib

from fastapi import Request, Response


def etag_of(content: bytes) -> str:
    """A strong ETag of a body."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def is_known(request: Request, etag: str) -> bool:
    """Whether the program says that it has this very body (RFC 9110, 13.1.2; weak comparison)."""
    given = [entry.strip().removeprefix("W/") for entry in request.headers.get("if-none-match", "").split(",")]
    return "*" in given or etag in given


def tagged(request: Request, content: bytes, media_type: str, headers: dict[str, str] | None = None) -> Response:
    """The body with its ETag, or 304 without a body."""
    etag = etag_of(content)
    given = {**(headers or {}), "ETag": etag, "Cache-Control": "private, no-cache"}
    if is_known(request, etag):
        return Response(status_code=304, headers=given)
    return Response(content, media_type=media_type, headers=given)
