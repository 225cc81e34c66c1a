"""The log-in page: with a key, or by the site's identity provider."""

from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool

from trabecula_service.api.context import WebContext
from trabecula_service.api.problems import problem
from trabecula_service.security.audit import AuditEntry, append
from trabecula_service.security.keys import owner_of
from trabecula_service.security.oidc import IdentityProvider, LoginRefusedError
from trabecula_service.security.rights import Principal
from trabecula_service.security.sessions import COOKIE, close_session, open_session, remember_login, take_login

_LONGEST_FORM_BYTES = 4096
_LONGEST_PATH = 512

NextPath = Annotated[str, Query(alias="next", max_length=_LONGEST_PATH)]


def build_login(context: WebContext) -> APIRouter:
    """Routes of logging in and out."""
    router = APIRouter(include_in_schema=False)
    provider = IdentityProvider(context.settings.auth.oidc) if context.settings.auth.oidc.issuer else None
    template = Environment(loader=PackageLoader("trabecula_service.security"), autoescape=True, undefined=StrictUndefined).get_template

    def page(next_path: str, *, message: str = "", status: int = 200) -> HTMLResponse:
        text = template("login.html").render(next_path=_own_path(next_path), message=message, provider=provider is not None)
        return HTMLResponse(text, status_code=status)

    @router.get("/login")
    def login(next_path: NextPath = "/") -> HTMLResponse:
        return page(next_path)

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        if _is_foreign(request):
            return problem(403, "this request comes from a page of another site")
        body = await request.body()
        if len(body) > _LONGEST_FORM_BYTES:
            return problem(413, "the form is too long")
        form = parse_qs(body.decode("ascii", "replace"))
        key, next_path = form.get("key", [""])[0].strip(), form.get("next", ["/"])[0]
        return await run_in_threadpool(_with_key, request, key, next_path)

    def _with_key(request: Request, key: str, next_path: str) -> Response:
        now = context.clock()
        with context.ledger.write() as connection:
            owner = owner_of(connection, key, now)
            append(connection, _entry(request, "login", owner, now))
            if owner is not None:
                key_id = key.split("_")[1]
                token = open_session(
                    connection,
                    name=owner.name,
                    role=owner.role,
                    now=now,
                    seconds=context.settings.auth.session_hours * 3600.0,
                    key_id=key_id,
                )
        if owner is None:
            return page(next_path, message="This key is not known here, was revoked or is over.", status=401)
        return _with_cookie(RedirectResponse(_own_path(next_path), status_code=303), request, token)

    @router.post("/logout")
    def log_out(request: Request) -> Response:
        if _is_foreign(request):
            return problem(403, "this request comes from a page of another site")
        with context.ledger.write() as connection:
            close_session(connection, request.cookies.get(COOKIE, ""))
            append(connection, _entry(request, "logout", request.state.principal, context.clock()))
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(COOKIE)
        return response

    @router.get("/login/oidc")
    def go_to_provider(request: Request, next_path: NextPath = "/") -> Response:
        if provider is None:
            return problem(404, "no identity provider is in the settings (auth.oidc)")
        try:
            begun = provider.begin(_callback_url(request))
        except LoginRefusedError as error:
            return page(next_path, message=str(error), status=502)
        with context.ledger.write() as connection:
            remember_login(
                connection,
                state=begun.state,
                nonce=begun.nonce,
                verifier=begun.verifier,
                next_path=_own_path(next_path),
                now=context.clock(),
            )
        return RedirectResponse(begun.url, status_code=303)

    @router.get("/login/oidc/callback")
    def come_back(
        request: Request, state: Annotated[str, Query(max_length=256)] = "", code: Annotated[str, Query(max_length=4096)] = ""
    ) -> Response:
        if provider is None:
            return problem(404, "no identity provider is in the settings (auth.oidc)")
        now = context.clock()
        with context.ledger.write() as connection:
            begun = take_login(connection, state, now)
        if begun is None or not code:
            return page("/", message="This log-in was not begun here, or took too long. Please try again.", status=401)
        nonce, verifier, next_path = begun
        try:
            person = provider.finish(code, verifier=verifier, nonce=nonce, redirect_url=_callback_url(request), now=now)
        except LoginRefusedError as error:
            with context.ledger.write() as connection:
                append(connection, _entry(request, "login", None, now))
            return page(next_path, message=str(error), status=401)
        with context.ledger.write() as connection:
            token = open_session(
                connection, name=person.name, role=person.role, now=now, seconds=context.settings.auth.session_hours * 3600.0
            )
            append(connection, _entry(request, "login", person, now))
        return _with_cookie(RedirectResponse(next_path, status_code=303), request, token)

    return router


def _entry(request: Request, action: str, principal: Principal | None, now: float) -> AuditEntry:
    return AuditEntry(
        at=now,
        actor=principal.name if principal else "",
        role=principal.role if principal else "",
        via=principal.via if principal else "",
        address=request.client.host if request.client else "",
        action=action,
        study_id="",
        outcome="ok" if principal else "refused",
    )


def _with_cookie(response: Response, request: Request, token: str) -> Response:
    # Lax, because the way back from the identity provider begins on another site.
    response.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=request.url.scheme == "https", path="/")
    return response


def _callback_url(request: Request) -> str:
    return str(request.url.replace(path="/login/oidc/callback", query="", fragment=""))


def _own_path(text: str) -> str:
    """A path of this site; never the address of another one, which a forged link could lead to."""
    parts = urlsplit(text)
    own = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return text if own and text.isprintable() and "\\" not in text and len(text) <= _LONGEST_PATH else "/"


def _is_foreign(request: Request) -> bool:
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")
