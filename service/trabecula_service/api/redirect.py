"""Answers calls without TLS with the address that has it, and with nothing else."""

from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]


def redirect_to(port: int, hosts: Sequence[str]) -> AsgiApplication:
    """An application that sends every call on to the same path under https on ``port``, under the host names in ``hosts`` only."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await _answer(Request(scope), port, hosts)(scope, receive, send)

    return application


def _answer(request: Request, port: int, hosts: Sequence[str]) -> Response:
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if host not in hosts:
        # Else anybody's link could send a reader through this server to a place of his own.
        return PlainTextResponse("this host name is not in api.allowed_hosts", status_code=421)
    if request.method not in ("GET", "HEAD"):
        # What a form or a program has sent in the clear must be noticed, not repeated.
        return PlainTextResponse("this service takes requests by https only", status_code=403)
    written = f"[{host}]" if ":" in host else host
    return RedirectResponse(str(request.url.replace(scheme="https", netloc=f"{written}:{port}")), status_code=308)
