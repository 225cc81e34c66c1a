"""The reader's form: what the page sends, checked before anything is written down."""

import json
from typing import Annotated

from fastapi import HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from trabecula_service.api.context import WebContext
from trabecula_service.ledger.reviews import NewReview, enter_review
from trabecula_service.ledger.states import StateError
from trabecula_service.result import Result
from trabecula_service.review.amend import amended
from trabecula_service.review.edits import Edits, FreeText, Verdict
from trabecula_service.review.errors import ReviewError
from trabecula_service.security.rights import Right

ReaderName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=64, pattern=r"^[^\\^=\x00-\x1f]+$")]


class GivenReview(BaseModel):
    """A verdict as a page or a program gives it. ``reader`` is written "Family, Given"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Verdict
    version: Annotated[int, Field(ge=1, le=2**31, description="the version that was looked at")]
    reader: ReaderName
    reason: FreeText = ""
    edits: Edits = Edits()


def edits_of(text: str) -> Edits:
    """The edits that a page sends as JSON; none where it sends nothing.

    Raises
    ------
    HTTPException : 422, with what is wrong.
    """
    try:
        return Edits.model_validate(json.loads(text)) if text.strip() else Edits()
    except (json.JSONDecodeError, ValidationError) as error:
        raise HTTPException(422, _what_is_wrong(error)) from error


def given_review(values: dict[str, object]) -> GivenReview:
    """A verdict from the fields of a form.

    Raises
    ------
    HTTPException : 422, with what is wrong.
    """
    try:
        return GivenReview.model_validate(values)
    except ValidationError as error:
        raise HTTPException(422, _what_is_wrong(error)) from error


def enter_or_problem(context: WebContext, study_id: str, given: GivenReview, base: Result, *, entered_by: str) -> int:
    """Write the verdict down; the number of the version that comes of it.

    Raises
    ------
    HTTPException : 404, 409 where the version was superseded meanwhile, 422 where the changes or the reason do not fit the verdict.
    """
    if given.verdict is Verdict.AMENDED and given.edits.is_empty():
        raise HTTPException(422, "nothing was changed: accept the reading, or change something first")
    if given.verdict is not Verdict.AMENDED and not given.edits.is_empty():
        raise HTTPException(422, f"a reading that is {given.verdict.value} cannot carry changes: take them back or sign them as amended")
    if given.verdict is Verdict.REJECTED and not given.reason:
        raise HTTPException(422, "say why the reading is rejected")
    try:
        amended(base, given.edits)
    except ReviewError as error:
        raise HTTPException(422, str(error)) from error
    review = NewReview(
        verdict=given.verdict,
        reader=given.reader,
        organization=context.settings.api.organization,
        reason=given.reason,
        edits=given.edits,
        entered_by=entered_by,
    )
    try:
        with context.ledger.write() as connection:
            return enter_review(connection, context.queue, study_id, given.version, review, now=context.clock())
    except KeyError as error:
        raise HTTPException(404, "there is no study with this id") from error
    except StateError as error:
        raise HTTPException(409, error.what) from error


def may_review(request: Request) -> bool:
    """Whether the role of the caller allows a verdict; the guard decides, this only keeps a page from offering what it would refuse."""
    principal = getattr(request.state, "principal", None)
    return principal is None or bool(principal.may(Right.REVIEW))


def caller_of(request: Request, otherwise: str) -> str:
    """Whose log-in or key a request came with; ``otherwise`` where it came from this machine without one."""
    principal = getattr(request.state, "principal", None)
    return str(principal.name) if principal is not None and principal.via != "loopback" else otherwise


def _what_is_wrong(error: json.JSONDecodeError | ValidationError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return "edits: this is no JSON"
    return "; ".join(f"{'.'.join(str(part) for part in entry['loc'])}: {entry['msg']}" for entry in error.errors())
