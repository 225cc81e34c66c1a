"""Routes of ``/api/v1/studies/ID/reviews``: what a reader's own program may do that the page does."""

from datetime import datetime

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict

from trabecula_service.api.context import WebContext
from trabecula_service.api.models import moment
from trabecula_service.api.reviewing import GivenReview, caller_of, enter_or_problem
from trabecula_service.api.routes import StudyId, VersionNumber, pick_result, study_or_404
from trabecula_service.ledger.queries import find_study, list_versions
from trabecula_service.ledger.reviews import ReviewRow, list_reviews
from trabecula_service.result import Result
from trabecula_service.review.amend import amended
from trabecula_service.review.edits import Edits, Verdict
from trabecula_service.review.errors import ReviewError


class ReviewAnswer(BaseModel):
    """One verdict of a reader and the version that came of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    base_version: int
    verdict: Verdict
    reader: str
    organization: str
    reason: str
    edits: Edits
    signed: datetime

    @classmethod
    def of(cls, row: ReviewRow) -> "ReviewAnswer":
        """From the ledger's row."""
        return cls(
            version=row.version_number,
            base_version=row.base_version_number,
            verdict=row.verdict,
            reader=row.reader,
            organization=row.organization,
            reason=row.reason,
            edits=row.edits,
            signed=moment(row.signed_at),
        )


class ReviewList(BaseModel):
    """All verdicts on a study, the newest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reviews: list[ReviewAnswer]


class NewVersion(BaseModel):
    """The version that a verdict made; its documents follow as soon as they are rendered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    version: int


def build_reviews(context: WebContext) -> APIRouter:
    """Routes of reviews."""
    router = APIRouter(prefix="/api/v1/studies/{study_id}")

    def base_of(study_id: str, version: int) -> Result:
        with context.ledger.read() as connection:
            study_or_404(find_study(connection, study_id))
            found = pick_result(list_versions(connection, study_id), version)
        if found is None or found.result_json is None:
            raise HTTPException(404, "this version has no result")
        return Result.from_json(found.result_json)

    @router.get("/reviews")
    def reviews(study_id: StudyId) -> ReviewList:
        """Every verdict on a study, with its changes."""
        with context.ledger.read() as connection:
            study_or_404(find_study(connection, study_id))
            return ReviewList(reviews=[ReviewAnswer.of(row) for row in list_reviews(connection, study_id)])

    @router.post("/reviews", status_code=201)
    def review(study_id: StudyId, given: GivenReview, request: Request, response: Response) -> NewVersion:
        """Accept, amend or reject a version. 409 where it has been superseded meanwhile."""
        number = enter_or_problem(context, study_id, given, base_of(study_id, given.version), entered_by=caller_of(request, "api"))
        response.headers["Location"] = f"/api/v1/studies/{study_id}"
        return NewVersion(id=study_id, version=number)

    @router.post("/versions/{version}/preview")
    def preview(study_id: StudyId, version: VersionNumber, edits: Edits) -> Response:
        """The result as it would be with these changes; nothing is written down."""
        try:
            changed = amended(base_of(study_id, version), edits)
        except ReviewError as error:
            raise HTTPException(422, str(error)) from error
        return Response(changed.to_json(), media_type="application/json")

    return router
