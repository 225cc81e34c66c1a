"""A typed client of the REST interface; answers are the service's own models, so both sides always agree."""

import ssl
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx2
from pydantic import BaseModel

from trabecula_morphometry.errors import TrabeculaError
from trabecula_service.api.models import RetryAnswer, StudyDetail, StudyList, StudySummary, UrgentAnswer
from trabecula_service.api.reviewing import GivenReview
from trabecula_service.api.reviews import NewVersion, ReviewAnswer, ReviewList
from trabecula_service.ledger.states import State
from trabecula_service.result import Result
from trabecula_service.review.edits import Edits, Verdict

Model = TypeVar("Model", bound=BaseModel)

_PAGE = 500
_LONG_SECONDS = 60.0


class ClientError(TrabeculaError):
    """The service refused, or cannot be reached; ``status`` is the HTTP status, None where there was no answer."""

    def __init__(self, what: str, *, status: int | None, where: str) -> None:
        self.status = status
        super().__init__(what, where=where)


class TrabeculaClient:
    """One service. Use it as a context manager.

    Parameters
    ----------
    url : such as "https://trabecula.example.org" or "http://127.0.0.1:8120".
    api_key : sent as a bearer token where the service asks for one.
    ca_file : certificates (PEM) that the service's is checked against; those of the system by default.
    transport : stands in for the network in tests.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = _LONG_SECONDS,
        ca_file: Path | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(ca_file)) if ca_file is not None else True
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx2.Client(
            base_url=url.rstrip("/"), headers=headers, timeout=timeout_seconds, trust_env=False, transport=transport, verify=verify
        )
        self._known: dict[str, tuple[str, bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def studies(
        self,
        *,
        state: State | None = None,
        verdict: Literal["none", "accepted", "amended", "rejected"] | None = None,
        attention: int | None = None,
        study_instance_uid: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[StudySummary]:
        """All studies that fit, the newest first; further pages are fetched as they are asked for."""
        wanted: dict[str, Any] = {
            "state": state,
            "verdict": verdict,
            "attention": attention,
            "study_instance_uid": study_instance_uid,
            "since": since.isoformat() if since else None,
            "until": until.isoformat() if until else None,
            "limit": _PAGE,
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        while True:
            page = StudyList.model_validate_json(self._get("/api/v1/studies", **given))
            yield from page.studies
            if page.next is None:
                return
            given["after"] = page.next

    def study(self, study_id: str) -> StudyDetail:
        """Versions, documents, deliveries and history of one study."""
        return StudyDetail.model_validate_json(self._get(f"/api/v1/studies/{study_id}"))

    def result(self, study_id: str, version: int | None = None) -> Result:
        """The result of the latest version that has one, or of the version asked for."""
        return Result.from_json(self._get(f"/api/v1/results/{study_id}", **({"version": version} if version else {})).decode())

    def document(self, study_id: str, version: int, name: str) -> bytes:
        """One document as it was stored and delivered, such as "report.pdf"."""
        return self._get(f"/api/v1/studies/{study_id}/versions/{version}/documents/{name}")

    def preview(self, study_id: str, version: int, edits: Edits) -> Result:
        """The result as it would be with a reader's changes; nothing is written down."""
        return Result.from_json(self._send(f"/api/v1/studies/{study_id}/versions/{version}/preview", edits).decode())

    def review(
        self, study_id: str, version: int, verdict: Verdict, *, reader: str, reason: str = "", edits: Edits | None = None
    ) -> NewVersion:
        """Sign a version: accept it, amend it with ``edits``, or reject it with a reason. ``reader`` is "Family, Given"."""
        given = GivenReview(verdict=verdict, version=version, reader=reader, reason=reason, edits=edits or Edits())
        return NewVersion.model_validate_json(self._send(f"/api/v1/studies/{study_id}/reviews", given))

    def reviews(self, study_id: str) -> list[ReviewAnswer]:
        """Every verdict on a study, the newest first."""
        return ReviewList.model_validate_json(self._get(f"/api/v1/studies/{study_id}/reviews")).reviews

    def retry(self, study_id: str) -> RetryAnswer:
        """Try a study again that failed or was skipped."""
        return RetryAnswer.model_validate_json(self._checked(self._ask("POST", f"/api/v1/studies/{study_id}/retry")))

    def put_first(self, study_id: str) -> UrgentAnswer:
        """Have a study that waits analysed before all others."""
        return UrgentAnswer.model_validate_json(self._checked(self._ask("POST", f"/api/v1/studies/{study_id}/first")))

    def results(self, *, since: datetime | None = None, until: datetime | None = None) -> Iterator[Result]:
        """The current result of every study, streamed."""
        given = {key: at.isoformat() for key, at in (("since", since), ("until", until)) if at}
        with self._http.stream("GET", "/api/v1/exports/results.jsonl", params=given) as answer:
            if answer.status_code != 200:
                answer.read()
                self._checked(answer)
            for line in answer.iter_lines():
                yield Result.from_json(line)

    def _get(self, path: str, **parameters: object) -> bytes:
        """A body; one that has not changed since it was last fetched is not sent again."""
        key = f"{path}?{sorted(parameters.items())}"
        etag, body = self._known.get(key, ("", b""))
        answer = self._ask("GET", path, params=parameters, headers={"If-None-Match": etag} if etag else {})
        if answer.status_code == 304:
            return body
        content = self._checked(answer)
        if "etag" in answer.headers:
            self._known[key] = (answer.headers["etag"], content)
        return content

    def _send(self, path: str, body: BaseModel) -> bytes:
        answer = self._ask("POST", path, content=body.model_dump_json(), headers={"Content-Type": "application/json"})
        return self._checked(answer)

    def _ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx2.TransportError as error:
            raise ClientError(f"no answer ({type(error).__name__})", status=None, where=path) from error

    def _checked(self, answer: httpx2.Response) -> bytes:
        if answer.is_success:
            return bytes(answer.content)
        try:
            detail = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = answer.text[:200]
        raise ClientError(detail, status=answer.status_code, where=answer.request.url.path)
