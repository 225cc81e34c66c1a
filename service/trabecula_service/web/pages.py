"""The work list and the page of a study, made on the server; every value is escaped by the templates."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from trabecula_service import __version__
from trabecula_service.api.context import WebContext
from trabecula_service.api.models import document_url
from trabecula_service.api.routes import StudyId, pick_result, retry_or_problem, study_or_404
from trabecula_service.ledger.queries import (
    count_instances,
    count_states,
    count_study_instances,
    find_study,
    list_deliveries,
    list_documents,
    list_events,
    list_refused_callers,
    list_set_aside,
    list_studies,
    list_versions,
)
from trabecula_service.ledger.states import State
from trabecula_service.result import Result
from trabecula_service.web.study_view import StudyView, view_of
from trabecula_service.web.words import age_text, date_text, size_text, time_text

STATIC_FOLDER = Path(__file__).parent / "static"
_PAGE_SIZE = 50


def build_pages(context: WebContext) -> APIRouter:
    """Routes for people."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    templates = _templates()

    @router.get("/")
    def work_list(state: State | None = None, page: Annotated[int, Query(ge=1, le=10**6)] = 1) -> str:
        with context.ledger.read() as connection:
            counts = count_states(connection)
            total = counts[state] if state else sum(counts.values())
            return templates.get_template("work_list.html").render(
                studies=list_studies(connection, state=state, limit=_PAGE_SIZE, offset=(page - 1) * _PAGE_SIZE),
                counts=counts,
                received=sum(counts.values()),
                objects=count_instances(connection),
                set_aside=list_set_aside(connection),
                refused=list_refused_callers(connection),
                state=state,
                page=page,
                pages=max(1, -(-total // _PAGE_SIZE)),
                receive=context.settings.receive,
                destinations=sorted(context.settings.deliver.destinations),
                now=context.clock(),
            )

    @router.get("/studies/{study_id}")
    def study(study_id: StudyId, version: Annotated[int | None, Query(ge=1, le=2**31)] = None) -> str:
        with context.ledger.read() as connection:
            row = study_or_404(find_study(connection, study_id))
            versions = list_versions(connection, study_id)
            shown = pick_result(versions, version) or versions[0]
            if version is not None and shown.number != version:
                shown = next((entry for entry in versions if entry.number == version), versions[0])
            documents = list_documents(connection, shown.id)
            names = {document.name for document in documents}
            view: StudyView | None = view_of(Result.from_json(shown.result_json)) if shown.result_json else None
            return templates.get_template("study.html").render(
                study=row,
                versions=versions,
                shown=shown,
                view=view,
                documents=documents,
                links={document.name: document_url(study_id, shown.number, document.name) for document in documents},
                picture="overview.png" in names,
                deliveries=list_deliveries(connection, shown.id),
                events=list_events(connection, study_id),
                objects=count_study_instances(connection, study_id),
                may_retry=row.state in (State.FAILED, State.SKIPPED),
                now=context.clock(),
            )

    @router.post("/studies/{study_id}/retry")
    def retry(study_id: StudyId, request: Request) -> RedirectResponse:
        del request
        try:
            retry_or_problem(context, study_id, actor="page")
        except HTTPException as error:
            # Somebody else was quicker, or there is nothing to try: the page shows how it stands.
            if error.status_code != 409:
                raise
        return RedirectResponse(f"/studies/{study_id}", status_code=303)

    return router


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("trabecula_service.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(age=age_text, time=time_text, date=date_text, size=size_text)
    environment.globals["software_version"] = __version__
    return environment
