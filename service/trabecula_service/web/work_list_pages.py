"""The work list: what is to be read, in which order, and the search for a patient."""

import hashlib
from typing import Annotated
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from trabecula_service.api.context import WebContext
from trabecula_service.api.reviewing import caller_of
from trabecula_service.ledger.queries import count_states
from trabecula_service.ledger.reviews import Attention
from trabecula_service.ledger.states import State
from trabecula_service.ledger.work_list import COUNT_UP_TO, Show, WorkFilter, count_work, list_work
from trabecula_service.web.rendering import page

PAGE_SIZE = 50
_MOST_FORM_BYTES = 4000

SHOW_WORDS = {Show.TO_READ: "To read", Show.SIGNED: "Signed", Show.TROUBLE: "Failed or skipped", Show.ALL: "All"}
ATTENTION_WORDS = {
    Attention.FIRST: "first",
    Attention.NOTE: "note",
    Attention.ROUTINE: "routine",
    Attention.NONE: "",
}
_SHOWN_ATTENTION = (Attention.FIRST, Attention.NOTE, Attention.ROUTINE)


def build_work_list_pages(context: WebContext) -> APIRouter:
    """``/`` and the search."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @router.get("/")
    def work_list(
        request: Request,
        show: Show | None = None,
        attention: Attention | None = None,
        state: State | None = None,
        page_number: Annotated[int, Query(alias="page", ge=1, le=10**6)] = 1,
        seen: Annotated[str, Query(max_length=64)] = "",
    ) -> Response:
        """The list. A page that asks whether anything is new (``seen``) gets 204 where nothing is."""
        chosen = show or (Show.ALL if state is not None else Show.TO_READ)
        body = _list_html(context, WorkFilter(show=chosen, attention=attention, state=state), page_number)
        fingerprint = hashlib.sha256(body.encode()).hexdigest()[:16]
        if request.headers.get("HX-Request") != "true":
            return HTMLResponse(page("work_list.html", page_name="list", who=caller_of(request, ""), body=body, fingerprint=fingerprint))
        if seen == fingerprint:
            return Response(status_code=204)
        return HTMLResponse(page("_list_frame.html", body=body, fingerprint=fingerprint))

    @router.post("/search")
    async def search(request: Request) -> Response:
        """Studies of one patient. By POST, because a name must not stand in an address."""
        form = parse_qs((await request.body())[:_MOST_FORM_BYTES].decode("utf-8", errors="replace"))
        text = "".join(sign for sign in form.get("patient", [""])[0] if sign.isprintable()).strip()[:100]
        body = _list_html(context, WorkFilter(show=Show.ALL, patient=text), 1)
        if request.headers.get("HX-Request") == "true":
            return HTMLResponse(page("_list_frame.html", body=body, fingerprint=""))
        return HTMLResponse(page("work_list.html", page_name="list", who=caller_of(request, ""), body=body, fingerprint=""))

    return router


def _list_html(context: WebContext, wanted: WorkFilter, page_number: int) -> str:
    with context.ledger.read() as connection:
        counts = count_states(connection)
        total = count_work(connection, wanted)
        return page(
            "_list.html",
            studies=list_work(connection, wanted, limit=PAGE_SIZE, offset=(page_number - 1) * PAGE_SIZE),
            received=sum(counts.values()),
            counts=counts,
            tabs=[(show, words, _count_text(count_work(connection, WorkFilter(show=show)))) for show, words in SHOW_WORDS.items()],
            wanted=wanted,
            attentions=[(attention, ATTENTION_WORDS[attention]) for attention in _SHOWN_ATTENTION],
            attention_words=ATTENTION_WORDS,
            show_words=SHOW_WORDS,
            total=_count_text(total),
            page_number=page_number,
            more=total > page_number * PAGE_SIZE,
            link=lambda **changes: _link(wanted, **changes),
            receive=context.settings.receive,
            now=context.clock(),
        )


def _count_text(count: int) -> str:
    return f"{COUNT_UP_TO}+" if count > COUNT_UP_TO else str(count)


def _link(wanted: WorkFilter, **changes: object) -> str:
    values: dict[str, object] = {"show": wanted.show.value}
    if wanted.attention is not None:
        values["attention"] = int(wanted.attention)
    if wanted.state is not None:
        values["state"] = wanted.state.value
    values.update(changes)
    return "/?" + urlencode({key: value for key, value in values.items() if value not in (None, "")})
