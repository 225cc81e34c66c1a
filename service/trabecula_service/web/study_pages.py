"""The page of a study: the reading room, the reader's changes and verdict, documents and history."""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from trabecula_service.api.context import WebContext
from trabecula_service.api.models import document_url
from trabecula_service.api.reviewing import caller_of, edits_of, enter_or_problem, given_review, may_review
from trabecula_service.api.routes import StudyId, VersionNumber, pick_result, retry_or_problem, study_or_404
from trabecula_service.api.urgent import first_or_problem
from trabecula_service.ledger.queries import (
    VersionRow,
    count_study_instances,
    find_study,
    list_deliveries,
    list_documents,
    list_events,
    list_versions,
)
from trabecula_service.ledger.reviews import attention_of, list_reviews
from trabecula_service.ledger.states import State
from trabecula_service.ledger.urgent import WAITING, is_first
from trabecula_service.render.reading_images import FILE_NAME
from trabecula_service.result import Result
from trabecula_service.review.amend import amended, changes_in_words
from trabecula_service.review.edits import ExclusionReason
from trabecula_service.review.errors import ReviewError
from trabecula_service.web.rendering import page
from trabecula_service.web.study_view import view_of

_BUSY = frozenset({State.RECEIVING, State.SETTLED, State.QUEUED, State.RUNNING, State.MEASURED, State.DELIVERING})
_MAY_SIGN = frozenset({State.DELIVERING, State.DONE, State.FAILED})
_MOST_FORM_BYTES = 200_000

EXCLUSION_WORDS: Mapping[ExclusionReason, str] = {
    ExclusionReason.DEFORMITY: "deformity, no fracture",
    ExclusionReason.METAL: "metal",
    ExclusionReason.CEMENT: "cement",
    ExclusionReason.SCLEROTIC: "sclerotic",
    ExclusionReason.ARTEFACT: "artefact",
    ExclusionReason.OTHER: "other",
}


def build_study_pages(context: WebContext) -> APIRouter:
    """Routes below ``/studies``."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    def result_of(study_id: str, version: int) -> Result:
        with context.ledger.read() as connection:
            study_or_404(find_study(connection, study_id))
            found = pick_result(list_versions(connection, study_id), version)
        if found is None or found.result_json is None:
            raise HTTPException(404, "this version has no result")
        return Result.from_json(found.result_json)

    @router.get("/studies/{study_id}")
    def study(study_id: StudyId, request: Request, version: Annotated[int | None, Query(ge=1, le=2**31)] = None) -> str:
        return study_page(context, study_id, version, reader=caller_of(request, ""), may_sign=may_review(request))

    @router.post("/studies/{study_id}/versions/{version}/preview")
    async def preview(study_id: StudyId, version: VersionNumber, request: Request) -> str:
        """The reading as it would be with the reader's changes; nothing is written down."""
        base = result_of(study_id, version)
        edits = edits_of((await _form(request)).get("edits", ""))
        try:
            changed = amended(base, edits)
        except ReviewError as error:
            raise HTTPException(422, str(error)) from error
        view = view_of(changed, [level.name for level in base.levels])
        return page("_reading.html", view=view, changes=changes_in_words(base, edits), preview=True)

    @router.post("/studies/{study_id}/versions/{version}/sign")
    async def sign(study_id: StudyId, version: VersionNumber, request: Request) -> Response:
        form = await _form(request)
        given = given_review(
            {
                "verdict": form.get("verdict", ""),
                "version": version,
                "reader": form.get("reader", ""),
                "reason": form.get("reason", ""),
                "edits": edits_of(form.get("edits", "")),
            }
        )
        enter_or_problem(context, study_id, given, result_of(study_id, version), entered_by=caller_of(request, "page"))
        if request.headers.get("HX-Request") == "true":
            # A refusal leaves the reader's changes where they are, which a page that was left would not.
            return Response(status_code=204, headers={"HX-Redirect": f"/studies/{study_id}"})
        return RedirectResponse(f"/studies/{study_id}", status_code=303)

    @router.post("/studies/{study_id}/retry")
    def retry(study_id: StudyId) -> RedirectResponse:
        try:
            retry_or_problem(context, study_id, actor="page")
        except HTTPException as error:
            # Somebody else was quicker, or there is nothing to try: the page shows how it stands.
            if error.status_code != 409:
                raise
        return RedirectResponse(f"/studies/{study_id}", status_code=303)

    @router.post("/studies/{study_id}/first")
    def first(request: Request, study_id: StudyId) -> RedirectResponse:
        try:
            first_or_problem(context, study_id, actor=caller_of(request, "page"))
        except HTTPException as error:
            # Its analysis has begun meanwhile: the page shows how it stands.
            if error.status_code != 409:
                raise
        return RedirectResponse(f"/studies/{study_id}", status_code=303)

    return router


def study_page(context: WebContext, study_id: str, version: int | None, *, reader: str = "", may_sign: bool = True) -> str:
    """The page as HTML; ``reader`` is who is logged in, ``may_sign`` whether that role allows it."""
    with context.ledger.read() as connection:
        row = study_or_404(find_study(connection, study_id))
        versions = list_versions(connection, study_id)
        shown = _shown(versions, version)
        documents = list_documents(connection, shown.id)
        deliveries = list_deliveries(connection, shown.id)
        events = list_events(connection, study_id)
        objects = count_study_instances(connection, study_id)
        reviews = list_reviews(connection, study_id)
        first = is_first(connection, study_id)
    result = Result.from_json(shown.result_json) if shown.result_json else None
    names = {document.name for document in documents}
    signable = may_sign and result is not None and attention_of(result) > 0 and shown.number == row.version and shown.state in _MAY_SIGN
    signable = signable and row.images_deleted_at is None
    return page(
        "study.html",
        study=row,
        versions=versions,
        shown=shown,
        view=view_of(result) if result else None,
        signature=result.signature if result else None,
        changes=[],
        preview=False,
        documents=[document for document in documents if document.name != FILE_NAME],
        links={document.name: document_url(study_id, shown.number, document.name) for document in documents},
        images=FILE_NAME in names,
        picture="overview.png" in names,
        deliveries=deliveries,
        events=events,
        reviews=reviews,
        objects=objects,
        signable=signable,
        may_sign=may_sign,
        exclusion_words=EXCLUSION_WORDS,
        may_retry=row.state in (State.FAILED, State.SKIPPED),
        first=first,
        may_be_first=row.state in WAITING and not first,
        busy=row.state in _BUSY,
        who=reader,
        now=context.clock(),
    )


def _shown(versions: list[VersionRow], number: int | None) -> VersionRow:
    """The version asked for; else the latest that has a result, so that the last reading stays in view while a new one is made."""
    asked = next((row for row in versions if row.number == number), None)
    return asked or pick_result(versions, None) or versions[0]


async def _form(request: Request) -> dict[str, str]:
    """Fields of a form; too long a one is refused before it is read whole."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_FORM_BYTES:
            raise HTTPException(413, "the form is too long")
    return dict(parse_qsl(body.decode("utf-8", errors="replace"), keep_blank_values=True))
