"""Routes of ``/api/v1/exports``: the current results of many studies as one stream, for a cohort or a registry."""

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from trabecula_service.api.context import WebContext
from trabecula_service.api.models import seconds_of
from trabecula_service.api.routes import pick_result
from trabecula_service.ledger.queries import StudyRow, list_versions
from trabecula_service.ledger.study_filter import StudyFilter, list_filtered
from trabecula_service.render.measurements_table import COLUMNS, table_rows
from trabecula_service.result import Result

_AT_ONCE = 200
_OWN_COLUMNS = ("study_id", "version", "verdict")

Since = Annotated[datetime | None, Query(description="received at this time or later")]
Until = Annotated[datetime | None, Query(description="received before this time")]


def build_exports(context: WebContext) -> APIRouter:
    """Routes of exports; read in pages, so that a million studies need no memory."""
    router = APIRouter(prefix="/api/v1/exports")

    def results(wanted: StudyFilter) -> Iterator[tuple[StudyRow, int, str]]:
        after: str | None = None
        while True:
            # One short look at the ledger per page: a slow reader must not hold one open for hours.
            with context.ledger.read() as connection:
                rows, after = list_filtered(connection, wanted, limit=_AT_ONCE, after=after)
                found = [(row, pick_result(list_versions(connection, row.id), None)) for row in rows]
            for row, version in found:
                if version is not None and version.result_json is not None:
                    yield row, version.number, version.result_json
            if after is None:
                return

    @router.get("/results.jsonl")
    def as_lines(since: Since = None, until: Until = None) -> StreamingResponse:
        """One ``result.json`` per line, of the latest version of each study, the newest study first."""
        wanted = StudyFilter(since=seconds_of(since), until=seconds_of(until))
        lines = (Result.from_json(text).model_dump_json(by_alias=True) + "\n" for _, _, text in results(wanted))
        return StreamingResponse(lines, media_type="application/x-ndjson")

    @router.get("/results.csv")
    def as_table(since: Since = None, until: Until = None) -> StreamingResponse:
        """One row per level, columns as in the data dictionary, behind our id of the study, the version and the reader's verdict."""
        wanted = StudyFilter(since=seconds_of(since), until=seconds_of(until))
        return StreamingResponse(_table(results(wanted)), media_type="text/csv; charset=utf-8")

    return router


def _table(results: Iterator[tuple[StudyRow, int, str]]) -> Iterator[str]:
    names = [*_OWN_COLUMNS, *(column.name for column in COLUMNS)]
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    for row, version, text in results:
        result = Result.from_json(text)
        own = {"study_id": row.id, "version": version, "verdict": result.signature.verdict if result.signature else ""}
        for cells in table_rows([result]):
            plain = {name: str(value).lower() if isinstance(value, bool) else value for name, value in cells.items()}
            writer.writerow({**own, **plain})
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()
