"""Before every request: who is it, may they; after it: a line in the audit trail where a patient was seen or something was changed."""

import ipaddress
import re
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlsplit

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from trabecula_service.api.context import WebContext
from trabecula_service.api.problems import problem
from trabecula_service.security.audit import AuditEntry, append
from trabecula_service.security.keys import owner_of
from trabecula_service.security.login import build_login
from trabecula_service.security.rights import Principal, Right, UserRole, right_for
from trabecula_service.security.sessions import COOKIE, session_owner

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
_STUDY = re.compile(r"(?:/api/v1)?/(?:studies|results)/([0-9a-f]{16})(/.*)?")
_SAME_LOOK_SECONDS = 600.0
"""One who looks at a study again and again is noted once in this time: the page refreshes itself and loads many pictures."""
_MOST_LOOKS = 10_000

log = structlog.get_logger("trabecula.security")


def install_security(app: FastAPI, context: WebContext) -> None:
    """Put the guard before all routes of an application, and add the log-in.

    Raises
    ------
    SettingsError
        The settings of the identity provider are wrong.
    """
    guard = _Guard(context)
    app.middleware("http")(guard.handle)
    app.include_router(build_login(context))


def principal_of(request: Request) -> Principal:
    """Who makes this request; for routes behind the guard."""
    principal: Principal = request.state.principal
    return principal


class _Guard:
    def __init__(self, context: WebContext) -> None:
        self._context, self._looks, self._lock = context, OrderedDict[tuple[str, str], float](), threading.Lock()

    async def handle(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        path = request.url.path
        right = right_for(request.method, path)
        principal = await run_in_threadpool(self._principal, request)
        request.state.principal = principal
        if right is None:
            return await call_next(request)
        refusal = self._refusal(request, principal, right)
        if refusal is not None:
            if principal is not None or "authorization" in request.headers:
                await self._note(request, principal, "refused", f"{refusal.status_code}")
            return refusal
        response = await call_next(request)
        if request.method not in _SAFE:
            await self._note(request, principal, "change", "ok" if response.status_code < 400 else str(response.status_code))
        elif response.status_code == 200 and self._is_new_look(principal, path):
            await self._note(request, principal, "read", "ok")
        return response

    def _principal(self, request: Request) -> Principal | None:
        now = self._context.clock()
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        cookie = request.cookies.get(COOKIE)
        if scheme.lower() == "bearer":
            with self._context.ledger.read() as connection:
                return owner_of(connection, token.strip(), now)
        if cookie:
            with self._context.ledger.read() as connection:
                found = session_owner(connection, cookie, now)
            if found is not None:
                return found
        return self._loopback(request)

    def _loopback(self, request: Request) -> Principal | None:
        role = self._context.settings.auth.loopback_role
        # A proxy on this machine brings callers from elsewhere; it says so, and then they have to log in.
        if role == "none" or request.client is None or any(name in request.headers for name in _FORWARDED):
            return None
        try:
            local = ipaddress.ip_address(request.client.host).is_loopback
        except ValueError:
            local = False
        return Principal(name="this machine", role=UserRole(role), via="loopback") if local else None

    def _refusal(self, request: Request, principal: Principal | None, right: Right) -> Response | None:
        if principal is None:
            return self._who_are_you(request)
        if not principal.may(right):
            return problem(403, f'the role "{principal.role}" of {principal.name} may not do this; it takes the right to {right}')
        if request.method not in _SAFE and principal.via != "key" and _from_another_site(request):
            # Browsers send cookies, and are on this machine, also when a foreign page sends the request.
            return problem(403, "this request comes from a page of another site")
        return None

    def _who_are_you(self, request: Request) -> Response:
        if request.method == "GET" and "text/html" in request.headers.get("accept", "") and "authorization" not in request.headers:
            wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?next={quote(wanted, safe='')}", status_code=303)
        address = request.client.host if request.client else ""
        log.info("caller_not_known", address=address, hint="trabecula key add NAME --role viewer")
        hint = 'send "Authorization: Bearer KEY"; on the server, "trabecula key add NAME --role viewer" makes a key'
        response = problem(401, f"nobody is logged in: {hint}")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response

    def _is_new_look(self, principal: Principal | None, path: str) -> bool:
        found = _STUDY.fullmatch(path)
        if found is None or principal is None:
            return False
        now, key = self._context.clock(), (principal.name, found[1] + ("/documents" if "/documents/" in (found[2] or "") else ""))
        with self._lock:
            last = self._looks.get(key)
            if last is not None and 0 <= now - last < _SAME_LOOK_SECONDS:
                return False
            self._looks[key] = now
            self._looks.move_to_end(key)
            while len(self._looks) > _MOST_LOOKS:
                self._looks.popitem(last=False)
        return True

    async def _note(self, request: Request, principal: Principal | None, action: str, outcome: str) -> None:
        study = _STUDY.fullmatch(request.url.path)
        # The route as it was written, not as it was called: an address may hold what somebody typed into it.
        route = getattr(request.scope.get("route"), "path", "")
        entry = AuditEntry(
            at=self._context.clock(),
            actor=principal.name if principal else "",
            role=principal.role if principal else "",
            via=principal.via if principal else "",
            address=request.client.host if request.client else "",
            action="export" if action == "read" and "/documents/" in request.url.path else action,
            study_id=study[1] if study else "",
            outcome=outcome,
            detail=f"{request.method} {route}".strip(),
        )
        try:
            await run_in_threadpool(self._write, entry)
        except SQLAlchemyError as error:
            log.error("audit_not_written", error=type(error).__name__)

    def _write(self, entry: AuditEntry) -> None:
        with self._context.ledger.write() as connection:
            append(connection, entry)


def _from_another_site(request: Request) -> bool:
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if origin is not None:
        return urlsplit(origin).netloc != request.headers.get("host")
    return site is not None and site not in ("same-origin", "none")
