"""The administrator's look at the series rules: which series of some files would be measured, and why. Nothing is kept or analysed."""

import tempfile
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from trabecula_morphometry.errors import InputError
from trabecula_service.api.context import WebContext
from trabecula_service.api.reviewing import caller_of
from trabecula_service.choose.rules import ChoiceRules, parse_rules, read_rules
from trabecula_service.dicom.series_choice import ChoiceTable, explain_choice
from trabecula_service.web.rendering import page

MOST_REQUEST_BYTES = 64 * 1024 * 1024
"""The page sends the beginning of each file only, where the header is; a whole study's headers are a few megabytes."""
MOST_FILES = 10_000


def build_rules_pages(context: WebContext) -> APIRouter:
    """``/administration/rules``."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    def rules_page(request: Request, *, table: ChoiceTable | None = None, refused: str = "", typed: str = "") -> str:
        return page(
            "rules.html",
            page_name="administration",
            who=caller_of(request, ""),
            rules_file=context.settings.work.series_rules_file,
            most_bytes=MOST_REQUEST_BYTES,
            most_files=MOST_FILES,
            table=table,
            refused=refused,
            typed=typed,
        )

    @router.get("/administration/rules")
    def form(request: Request) -> str:
        return rules_page(request)

    @router.post("/administration/rules")
    async def look(request: Request) -> HTMLResponse:
        _check_size(request)
        async with request.form(max_files=MOST_FILES, max_fields=1, max_part_size=1_000_000) as given:
            typed = str(given.get("rules") or "").strip()
            parts = [await part.read() for part in given.getlist("files") if isinstance(part, UploadFile)]
        try:
            table = await run_in_threadpool(_explained, parts, typed, context.settings.work.series_rules_file)
        except InputError as error:
            return HTMLResponse(rules_page(request, refused=" ".join(str(error).split()), typed=typed), status_code=422)
        return HTMLResponse(rules_page(request, table=table, typed=typed))

    return router


def _check_size(request: Request) -> None:
    """Refuse before anything is read."""
    length = request.headers.get("content-length", "")
    if not length.isdigit():
        raise HTTPException(411, "the length of the request is missing")
    if int(length) > MOST_REQUEST_BYTES:
        raise HTTPException(413, f"more than {MOST_REQUEST_BYTES // 1024**2} MiB; send the beginnings of the files, or fewer files")


def _explained(parts: list[bytes], typed: str, rules_file: Path | None) -> ChoiceTable:
    rules: ChoiceRules = parse_rules(typed, "the rules typed here") if typed else read_rules(rules_file)
    with tempfile.TemporaryDirectory(prefix="trabecula-rules-") as name:
        folder = Path(name)
        for number, part in enumerate(parts):
            # Names of our own, and a folder: whatever is no DICOM in it, an archive too, is passed over and never unpacked.
            (folder / f"{number:06d}.dcm").write_bytes(part)
        return explain_choice([folder], rules)
