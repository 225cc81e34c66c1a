"""The web application: REST interface and pages with one set of guards around them."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles

from trabecula_service import __version__
from trabecula_service.api.calibrations import build_calibrations
from trabecula_service.api.context import WebContext
from trabecula_service.api.exports import build_exports
from trabecula_service.api.health import build_health
from trabecula_service.api.problems import install_problems, problem
from trabecula_service.api.reviews import build_reviews
from trabecula_service.api.routes import build_api
from trabecula_service.api.urgent import build_urgent
from trabecula_service.receive.stow import build_stow
from trabecula_service.security.guard import install_security
from trabecula_service.web.pages import FONT_FOLDER, STATIC_FOLDER, build_pages

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": a browser then hides the origin of our own forms, and the guard below could not tell them from foreign ones.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
_ONLY_HTTPS = "max-age=31536000"
"""For a year, this host alone: what its neighbours speak is not ours to say (RFC 6797)."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def build_app(context: WebContext) -> FastAPI:
    """The application; nothing starts here."""
    app = FastAPI(title="Trabecula", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    install_security(app, context)
    hosts = context.settings.api.allowed_hosts
    has_tls = context.settings.api.tls_certificate is not None

    @app.middleware("http")
    async def _guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = _refusal(request, hosts)
        response = problem(*refusal) if refusal else await call_next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if has_tls:
            response.headers.setdefault("Strict-Transport-Security", _ONLY_HTTPS)
        return response

    install_problems(app)
    app.include_router(build_health(context))
    app.include_router(build_api(context))
    app.include_router(build_urgent(context))
    app.include_router(build_reviews(context))
    app.include_router(build_exports(context))
    app.include_router(build_calibrations(context))
    app.include_router(build_stow(context))
    app.include_router(build_pages(context))
    app.mount("/static/fonts", StaticFiles(directory=FONT_FOLDER), name="fonts")
    app.mount("/static", StaticFiles(directory=STATIC_FOLDER), name="static")
    return app


def _refusal(request: Request, hosts: tuple[str, ...]) -> tuple[int, str] | None:
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if host not in hosts:
        return 421, f"this host name is not in api.allowed_hosts ({', '.join(hosts)})"
    origin = request.headers.get("origin")
    if request.method not in _SAFE_METHODS and origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        # A form on a foreign page must not act in the name of somebody who has this page open.
        return 403, "this request comes from a page of another site"
    return None
