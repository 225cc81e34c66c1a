"""``/healthz`` and ``/metrics``: for those who watch the service; nothing there is about a patient."""

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse

from trabecula_service import __version__
from trabecula_service.api.context import WebContext
from trabecula_service.api.models import HealthAnswer
from trabecula_service.api.problems import install_problems
from trabecula_service.ops.health import check_health
from trabecula_service.ops.metrics import LedgerCollector, metrics_text

_HUNG_SECONDS = 900.0
"""Far beyond every time limit of a step."""


def build_health_app(context: WebContext) -> FastAPI:
    """An application with these two routes and nothing else, for a process without a page."""
    app = FastAPI(title="Trabecula health", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    install_problems(app)
    app.include_router(build_health(context))
    return app


def build_health(context: WebContext) -> APIRouter:
    """The two routes."""
    router = APIRouter()

    @router.get("/healthz", response_model=HealthAnswer)
    def healthz() -> JSONResponse:
        """200 if the service is well, 503 with the problems if not."""
        health = check_health(context.ledger, context.heartbeats, context.data, context.settings.receive.reserve_free_gib)
        answer = HealthAnswer(
            status="unwell" if health.problems else "ok",
            problems=health.problems,
            disk_free_gib=round(health.disk_free_gib, 2),
            queue_depth=health.queue_depth,
            heartbeat_age_s={name: round(age, 1) for name, age in health.heartbeat_age_s.items()},
        )
        return JSONResponse(answer.model_dump(mode="json"), status_code=503 if health.problems else 200)

    @router.get("/livez")
    def livez() -> Response:
        """200 unless a loop of this process hangs: what a supervisor restarts by. A full disk or an absent PACS is no reason for that."""
        hung = [name for name, age in context.heartbeats.ages_s().items() if age > _HUNG_SECONDS]
        text = f"no sign of life from: {', '.join(hung)}\n" if hung else "alive\n"
        return Response(text, status_code=503 if hung else 200, media_type="text/plain")

    @router.get("/metrics")
    def metrics() -> Response:
        """Metrics for Prometheus."""
        text = metrics_text(LedgerCollector(context.ledger, context.heartbeats, context.data))
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
