"""Routes of ``/api/v1``. Addresses hold our own study ids only."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse

from trabecula_service.api.context import WebContext
from trabecula_service.api.etags import is_known, tagged
from trabecula_service.api.models import HistoryEntry, RetryAnswer, StudyDetail, StudyList, StudySummary, Version, seconds_of
from trabecula_service.ledger.queries import (
    StudyRow,
    VersionRow,
    count_instances,
    count_states,
    count_study_instances,
    find_document,
    find_study,
    list_deliveries,
    list_documents,
    list_events,
    list_versions,
)
from trabecula_service.ledger.retry import retry_study
from trabecula_service.ledger.states import State, StateError
from trabecula_service.ledger.study_filter import CursorError, StudyFilter, list_filtered

StudyId = Annotated[str, PathParameter(pattern=r"^[0-9a-f]{16}$", description="our own id of the study")]
VersionNumber = Annotated[int, PathParameter(ge=1, le=2**31)]

_MEDIA_TYPES = {
    ".json": "application/json",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".dcm": "application/dicom",
    ".gz": "application/gzip",
    ".csv": "text/csv",
    ".hl7": "application/hl7-v2",
}


def build_api(context: WebContext) -> APIRouter:
    """All routes for programs."""
    router = APIRouter()

    @router.get("/api/v1/studies")
    def studies(
        state: State | None = None,
        verdict: Annotated[Literal["none", "accepted", "amended", "rejected"] | None, Query(description="of a reader")] = None,
        attention: Annotated[int | None, Query(ge=0, le=3, description="3 first, 2 note, 1 routine, 0 nothing measured")] = None,
        study_instance_uid: Annotated[str | None, Query(max_length=64, pattern=r"^[0-9.]+$")] = None,
        since: Annotated[datetime | None, Query(description="received at this time or later")] = None,
        until: Annotated[datetime | None, Query(description="received before this time")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
        after: Annotated[str | None, Query(max_length=64, description='the "next" of the page before')] = None,
    ) -> StudyList:
        """Studies, the newest first, with counts over all of them. For many pages follow ``next``: it stays right while studies arrive."""
        wanted = StudyFilter(
            state=state,
            verdict=None if verdict is None else verdict.replace("none", ""),
            attention=attention,
            study_instance_uid=study_instance_uid,
            since=seconds_of(since),
            until=seconds_of(until),
        )
        with context.ledger.read() as connection:
            try:
                rows, following = list_filtered(connection, wanted, limit=limit, offset=offset, after=after)
            except CursorError as error:
                raise HTTPException(422, str(error)) from error
            counts, objects = count_states(connection), count_instances(connection)
        return StudyList(
            studies=[StudySummary.of(row) for row in rows],
            limit=limit,
            offset=offset,
            next=following,
            received=sum(counts.values()),
            counts=counts,
            objects=objects,
        )

    @router.get("/api/v1/studies/{study_id}", response_model=StudyDetail)
    def study(study_id: StudyId, request: Request) -> Response:
        """One study with its versions, documents, deliveries and history."""
        with context.ledger.read() as connection:
            row = study_or_404(find_study(connection, study_id))
            versions = [
                Version.of(version, study_id, list_documents(connection, version.id), list_deliveries(connection, version.id))
                for version in list_versions(connection, study_id)
            ]
            detail = StudyDetail(
                study=StudySummary.of(row),
                objects=count_study_instances(connection, study_id),
                versions=versions,
                history=[HistoryEntry.of(event) for event in list_events(connection, study_id)],
            )
        return tagged(request, detail.model_dump_json().encode(), "application/json")

    @router.get("/api/v1/results/{study_id}")
    def result(study_id: StudyId, request: Request, version: Annotated[int | None, Query(ge=1, le=2**31)] = None) -> Response:
        """``result.json`` of a study: of the latest version that has one, or of the version asked for."""
        with context.ledger.read() as connection:
            study_or_404(find_study(connection, study_id))
            found = pick_result(list_versions(connection, study_id), version)
        if found is None or found.result_json is None:
            raise HTTPException(404, "there is no result yet; the state of the study says why")
        return tagged(request, found.result_json.encode(), "application/json", {"Trabecula-Result-Version": str(found.number)})

    @router.get("/api/v1/studies/{study_id}/versions/{version}/documents/{name}")
    def document(
        study_id: StudyId, version: VersionNumber, name: Annotated[str, PathParameter(max_length=64)], request: Request
    ) -> Response:
        """One document, the bytes as they were stored and delivered; its ETag is their SHA-256."""
        with context.ledger.read() as connection:
            found = find_document(connection, study_id, version, name)
        if found is None:
            raise HTTPException(404, "there is no such document")
        etag = f'"{found.sha256}"'
        if is_known(request, etag):
            return Response(status_code=304, headers={"ETag": etag})
        # The path comes from the ledger, not from the address.
        try:
            path = context.local(found.path)
        except OSError as error:
            raise HTTPException(503, "the document cannot be had at the moment") from error
        media_type = _MEDIA_TYPES.get(path.suffix, "application/octet-stream")
        inline = path.suffix in (".png", ".pdf", ".json")
        return FileResponse(
            path,
            media_type=media_type,
            filename=f"{study_id}-v{version}-{name}",
            headers={"ETag": etag},
            content_disposition_type="inline" if inline else "attachment",
        )

    @router.post("/api/v1/studies/{study_id}/retry")
    def retry(study_id: StudyId) -> RetryAnswer:
        """Try a study again that failed or was skipped."""
        return RetryAnswer(id=study_id, state=retry_or_problem(context, study_id, actor="api"))

    return router


def study_or_404(row: StudyRow | None) -> StudyRow:
    """The study, or an answer that there is none."""
    if row is None:
        raise HTTPException(404, "there is no study with this id")
    return row


def pick_result(versions: list[VersionRow], number: int | None) -> VersionRow | None:
    """The newest version with a result, or the one asked for."""
    wanted = [row for row in versions if row.result_json is not None and number in (None, row.number)]
    return wanted[0] if wanted else None


def retry_or_problem(context: WebContext, study_id: str, *, actor: str) -> State:
    """Ask for another try; a study that cannot be tried again is an answer, not an error of ours."""
    try:
        with context.ledger.write() as connection:
            return retry_study(connection, context.queue, study_id, actor=actor, now=context.clock())
    except KeyError as error:
        raise HTTPException(404, "there is no study with this id") from error
    except StateError as error:
        raise HTTPException(409, error.what) from error
