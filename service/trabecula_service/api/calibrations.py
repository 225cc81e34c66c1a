"""Routes of ``/api/v1/calibrations``: the registry, its drift and its charts. Entries are added, never changed."""

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Body, HTTPException, Response
from fastapi import Path as PathParameter
from pydantic import BaseModel, ConfigDict

from trabecula_calibration.entries import CalibrationEntry, CalibrationEntryError
from trabecula_calibration.registry import Registry, parse_registry, registry_toml
from trabecula_service.api.context import WebContext
from trabecula_service.calibrate.store import drift_rules
from trabecula_service.ledger.calibrations import add_changes, add_checks, add_entries, load_registry

EntryId = Annotated[str, PathParameter(min_length=1, max_length=128)]
Toml = Annotated[str, Body(media_type="application/toml", max_length=4_000_000)]


class CalibrationAnswer(BaseModel):
    """One entry with the state of its drift today."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    manufacturer: str
    model: str | None
    device_serial: str | None
    kvp: float
    kernel_family: str | None
    slope_mg_cm3_per_hu: float
    intercept_mg_cm3: float
    material: str
    residual_sd_mg_cm3: float
    valid_from: date
    valid_to: date | None
    phantom: str | None
    phantom_serial: str | None
    source: str
    entered_by: str | None
    supersedes: str | None
    superseded: bool
    content_sha256: str
    drift: str
    drift_reasons: list[str]
    checks: int
    days_since_phantom_scan: int
    changed: str | None
    """What was changed on the scanner since, and when; the entry counts as expired then."""


class CalibrationList(BaseModel):
    """All entries, oldest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibrations: list[CalibrationAnswer]


class ImportAnswer(BaseModel):
    """What an import added; what was there already with the same content is passed over."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entries: list[str]
    checks: int
    changes: int


def build_calibrations(context: WebContext) -> APIRouter:
    """Routes of the registry."""
    router = APIRouter(prefix="/api/v1/calibrations")

    def registry() -> Registry:
        with context.ledger.read() as connection:
            return load_registry(connection, drift_rules(context.settings))

    def today() -> date:
        return datetime.fromtimestamp(context.clock(), UTC).date()

    @router.get("")
    def calibrations() -> CalibrationList:
        """All entries of the registry, superseded ones too."""
        found = registry()
        return CalibrationList(calibrations=[_answer(entry, found, today()) for entry in found.entries])

    @router.get("/export.toml")
    def export() -> Response:
        """Entries, checks and changes of scanners as TOML, for another installation."""
        found = registry()
        return Response(registry_toml(found.entries, found.checks, found.changes), media_type="application/toml")

    @router.post("", status_code=201)
    def add(toml: Toml) -> ImportAnswer:
        """Add the entries, checks and changes of a TOML file; malformed or implausible ones are refused as a whole, with the reason."""
        try:
            given = parse_registry(toml)
            with context.ledger.write() as connection:
                added = add_entries(connection, given.entries, by="api", now=context.clock())
                checks = add_checks(connection, given.checks, by="api", now=context.clock())
                changes = add_changes(connection, given.changes, by="api", now=context.clock())
        except CalibrationEntryError as error:
            raise HTTPException(422, str(error)) from error
        return ImportAnswer(entries=[entry.id for entry in added], checks=checks, changes=changes)

    @router.get("/{entry_id}")
    def calibration(entry_id: EntryId) -> CalibrationAnswer:
        """One entry."""
        found = registry()
        return _answer(_entry_or_404(found, entry_id), found, today())

    @router.get("/{entry_id}/chart.svg")
    def chart(entry_id: EntryId) -> Response:
        """QA readings in time with their limits."""
        from trabecula_service.calibrate.pictures import drift_chart

        found = registry()
        entry = _entry_or_404(found, entry_id)
        return Response(drift_chart(entry, found.drift_of(entry_id, today()), found.rules), media_type="image/svg+xml")

    return router


def _entry_or_404(registry: Registry, entry_id: str) -> CalibrationEntry:
    for entry in registry.entries:
        if entry.id == entry_id:
            return entry
    raise HTTPException(404, "there is no such calibration entry")


def _answer(entry: CalibrationEntry, registry: Registry, on_date: date) -> CalibrationAnswer:
    state, change = registry.drift_of(entry.id, on_date), registry.changed_since(entry, on_date)
    return CalibrationAnswer(
        id=entry.id,
        manufacturer=entry.manufacturer,
        model=entry.model,
        device_serial=entry.device_serial,
        kvp=entry.kvp,
        kernel_family=entry.kernel_family,
        slope_mg_cm3_per_hu=entry.slope_mg_cm3_per_hu,
        intercept_mg_cm3=entry.intercept_mg_cm3,
        material=entry.material.value,
        residual_sd_mg_cm3=entry.residual_sd_mg_cm3,
        valid_from=entry.valid_from,
        valid_to=entry.valid_to,
        phantom=entry.phantom,
        phantom_serial=entry.phantom_serial,
        source=entry.source,
        entered_by=entry.entered_by,
        supersedes=entry.supersedes,
        superseded=entry.id in {other.supersedes for other in registry.entries},
        content_sha256=entry.content_sha256,
        drift=state.status.value,
        drift_reasons=list(state.reasons),
        checks=len(state.points),
        days_since_phantom_scan=(on_date - registry.last_evidence(entry, on_date)).days,
        changed=f"{change.what} on {change.on}" if change is not None else None,
    )
