"""An error becomes a response, here and nowhere else. Source: RFC 9457."""

from __future__ import annotations

import math

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from satchel.errors import (
    ConfigError,
    Denied,
    OrganizationUnknown,
    Refused,
    RequestInvalid,
    RetryLater,
    SatchelError,
    StartOver,
    TokenInvalid,
    TooManyAttempts,
)
from satchel.protocol.messages import PROBLEM_MEDIA_TYPE, Problem

AnyRequest = Request[object, object, object]  # type: ignore[type-var]
log = structlog.get_logger()

_DEFAULT_RETRY_SECONDS = 5.0


def status_of(error: SatchelError) -> int:
    """The status code of an error class."""
    match error:
        case TokenInvalid():
            return 401
        case Denied():
            return 403
        case OrganizationUnknown():
            return 404
        case TooManyAttempts():
            return 429
        case RetryLater():
            return 503
        case StartOver():
            return 409
        case Refused() | ConfigError():
            return 400
    return 500


def problem_of(error: SatchelError) -> Problem:
    """The body of an error; what is not the caller's business stays in the log."""
    status = status_of(error)
    problem = Problem(title=error.message, status=status, code=error.code, hint=error.hint)
    if isinstance(error, RetryLater):
        problem.retry_after_seconds = error.wait_seconds or _DEFAULT_RETRY_SECONDS
    if status == 500:
        problem.title, problem.hint = "The server cannot answer this.", "Ask your administrator to look at the log."
    return problem


def told(error: Exception, path: str) -> Problem:
    """The body of any error, which is logged where it is ours."""
    if not isinstance(error, SatchelError):
        log.error("request failed", path=path, exc_info=error)
        return Problem(title="The server cannot answer this.", status=500, code=SatchelError.code)
    problem = problem_of(error)
    if problem.status >= 500:
        log.warning("request failed", path=path, code=error.code, message=error.message)
    return problem


def respond_to_satchel_error(request: AnyRequest, error: SatchelError) -> Response[bytes]:
    """Exception handler for our own errors."""
    return _response(told(error, request.url.path))


def respond_to_http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Exception handler for the framework's own refusals."""
    code = RequestInvalid.code if error.status_code < 500 else SatchelError.code
    title = error.detail if error.status_code < 500 else "The server cannot answer this."
    return _response(Problem(title=title or "The request is not usable.", status=error.status_code, code=code))


def respond_to_fault(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Exception handler for everything else: a fault of ours, told without internals."""
    return _response(told(error, request.url.path))


def headers_of(problem: Problem) -> dict[str, str]:
    """The headers that go with it."""
    headers = {}
    if problem.retry_after_seconds is not None:
        headers["Retry-After"] = str(math.ceil(problem.retry_after_seconds))
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def _response(problem: Problem) -> Response[bytes]:
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        headers=headers_of(problem),
        media_type=PROBLEM_MEDIA_TYPE,
    )


__all__ = ["headers_of", "problem_of", "respond_to_fault", "respond_to_http_error", "respond_to_satchel_error", "told"]
