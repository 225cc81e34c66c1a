"""Putting a waiting study first."""

from fastapi import APIRouter, HTTPException

from trabecula_service.api.context import WebContext
from trabecula_service.api.models import UrgentAnswer
from trabecula_service.api.routes import StudyId
from trabecula_service.ledger.states import StateError
from trabecula_service.ledger.urgent import put_first


def build_urgent(context: WebContext) -> APIRouter:
    """``POST /api/v1/studies/ID/first``."""
    router = APIRouter()

    @router.post("/api/v1/studies/{study_id}/first")
    def first(study_id: StudyId) -> UrgentAnswer:
        """Analyse a study that waits before all others."""
        first_or_problem(context, study_id, actor="api")
        return UrgentAnswer(id=study_id, first=True)

    return router


def first_or_problem(context: WebContext, study_id: str, *, actor: str) -> None:
    """Put a study first; one that does not wait is an answer, not an error of ours."""
    try:
        with context.ledger.write() as connection:
            put_first(connection, context.queue, study_id, actor=actor, now=context.clock())
    except KeyError as error:
        raise HTTPException(404, "there is no study with this id") from error
    except StateError as error:
        raise HTTPException(409, error.what) from error
