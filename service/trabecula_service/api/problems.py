"""Errors as problem+json (RFC 9457): what went wrong and what to do, never patient data."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

_MEDIA_TYPE = "application/problem+json"


def problem(status: int, detail: str) -> JSONResponse:
    """One problem as an answer."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body, status_code=status, media_type=_MEDIA_TYPE)


def install_problems(app: FastAPI) -> None:
    """Make every error of the interface a problem."""

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def _validation(_request: Request, error: RequestValidationError) -> JSONResponse:
        texts = [f"{'.'.join(str(part) for part in entry['loc'])}: {entry['msg']}" for entry in error.errors()]
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(texts))

    @app.exception_handler(Exception)
    async def _other(_request: Request, error: Exception) -> JSONResponse:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"something went wrong here ({type(error).__name__}); the log says where")
