"""Pages of those who look after the service: calibration for the physicist, destinations, queue and counts for the administrator."""

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, HTMLResponse

from trabecula_calibration.entries import CalibrationEntryError
from trabecula_calibration.registry import parse_registry
from trabecula_service.api.context import WebContext
from trabecula_service.api.reviewing import caller_of
from trabecula_service.calibrate.store import drift_rules, phantom_picture_path
from trabecula_service.deliver.port import Accepted
from trabecula_service.deliver.probe import probe
from trabecula_service.ledger.calibrations import add_changes, add_checks, add_entries, load_registry
from trabecula_service.ledger.outbox import outbox_counts
from trabecula_service.ledger.queries import (
    count_instances,
    count_jobs,
    count_skipped_by_code,
    count_states,
    list_refused_callers,
    list_set_aside,
    oldest_waiting_at,
)
from trabecula_service.ops.health import check_health
from trabecula_service.web.rendering import page

_PARCEL_STATES = ("pending", "sending", "stored", "delivered", "failed", "cancelled")
_MOST_TOML_BYTES = 4_000_000
EntryId = Annotated[str, PathParameter(min_length=1, max_length=128)]


def build_site_pages(context: WebContext) -> APIRouter:
    """``/physicist``, ``/upload`` and ``/administration``."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    def physicist_page(request: Request, said: str = "", refused: str = "") -> str:
        today = datetime.fromtimestamp(context.clock(), UTC).date()
        with context.ledger.read() as connection:
            registry = load_registry(connection, drift_rules(context.settings))
        replaced = {entry.supersedes for entry in registry.entries}
        rows = [
            {
                "entry": entry,
                "superseded": entry.id in replaced,
                "drift": registry.drift_of(entry.id, today),
                "days": (today - registry.last_evidence(entry, today)).days,
                "picture": phantom_picture_path(context.data, entry.id).exists(),
            }
            for entry in registry.entries
        ]
        return page(
            "physicist.html",
            page_name="physicist",
            who=caller_of(request, ""),
            rows=rows,
            said=said,
            refused=refused,
            limits=context.settings.calibration,
        )

    @router.get("/physicist")
    def physicist(request: Request) -> str:
        return physicist_page(request)

    @router.post("/physicist/entries")
    async def add(request: Request) -> HTMLResponse:
        form = parse_qs((await request.body())[:_MOST_TOML_BYTES].decode("utf-8", errors="replace"))
        try:
            given = parse_registry(form.get("toml", [""])[0])
            with context.ledger.write() as connection:
                added = add_entries(connection, given.entries, by="page", now=context.clock())
                checks = add_checks(connection, given.checks, by="page", now=context.clock())
                changes = add_changes(connection, given.changes, by="page", now=context.clock())
        except CalibrationEntryError as error:
            return HTMLResponse(physicist_page(request, refused=str(error)), status_code=422)
        return HTMLResponse(physicist_page(request, said=f"{len(added)} entries and {checks} checks and {changes} changes added."))

    @router.get("/physicist/entries/{entry_id}/phantom.png")
    def phantom(entry_id: EntryId) -> FileResponse:
        path = phantom_picture_path(context.data, entry_id)
        if not path.exists():
            raise HTTPException(404, "there is no picture of this phantom scan")
        return FileResponse(path, media_type="image/png")

    @router.get("/upload")
    def upload(request: Request) -> str:
        return page("upload.html", page_name="upload", who=caller_of(request, ""))

    @router.get("/administration")
    def administration(request: Request) -> str:
        health = check_health(context.ledger, context.heartbeats, context.data, context.settings.receive.reserve_free_gib)
        with context.ledger.read() as connection:
            parcels = outbox_counts(connection)
            states = count_states(connection)
            return page(
                "administration.html",
                page_name="administration",
                who=caller_of(request, ""),
                health=health,
                states=states,
                received=sum(states.values()),
                skipped=count_skipped_by_code(connection),
                jobs=count_jobs(connection),
                oldest=oldest_waiting_at(connection),
                objects=count_instances(connection),
                set_aside=list_set_aside(connection),
                refused=list_refused_callers(connection),
                destinations=[
                    {
                        "name": name,
                        "kind": settings.kind,
                        "where": _where(settings),
                        "documents": settings.documents,
                        "counts": {state: parcels.get((name, state), 0) for state in _PARCEL_STATES},
                    }
                    for name, settings in sorted(context.settings.deliver.destinations.items())
                ],
                receive=context.settings.receive,
                now=context.clock(),
            )

    @router.post("/administration/destinations/{name}/test")
    def test_destination(name: Annotated[str, PathParameter(max_length=64)]) -> Response:
        settings = context.settings.deliver.destinations.get(name)
        if settings is None:
            raise HTTPException(404, "there is no such destination")
        outcome = probe(settings)
        return HTMLResponse(page("_probe.html", well=isinstance(outcome, Accepted), note=outcome.note))

    return router


def _where(settings: object) -> str:
    """Where a destination is, as its settings say."""
    values = {key: getattr(settings, key, None) for key in ("ae_title", "host", "port", "url", "path")}
    if values["host"]:
        title = f"{values['ae_title']}@" if values["ae_title"] else ""
        return f"{title}{values['host']}:{values['port']}"
    return str(values["url"] or values["path"] or "")
