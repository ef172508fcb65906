"""What comes back from a source, and the one place where a status code becomes an error."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec

from satchel.errors import (
    DeltaLinkExpired,
    RequestRefused,
    SatchelError,
    SourceBusy,
    SourceMisconfigured,
    SourceUnreachable,
)

EXPIRED_VERSION_STAMP = "0x80044352"
"""Dataverse ExpiredVersionStamp: "Version stamp associated with the client has expired. Please perform a full sync."
Source: powerapps-docs, developer/data-platform/cache-schema-data.md; change tracking answers with the same code."""

MAX_RETRY_AFTER_SECONDS = 3600.0

_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE = 400, 401, 403, 404, 410
_TOO_MANY_REQUESTS, _NOT_IMPLEMENTED, _UNAVAILABLE = 429, 501, 503
_SHOWN_CHARACTERS = 200
_KEPT_CHARACTERS = 2000

BodyT = TypeVar("BodyT")


class Answer(msgspec.Struct, Generic[BodyT], frozen=True):
    """A whole answer: status, headers (lower case) and what became of the body."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: BodyT


class _ErrorDetail(msgspec.Struct):
    code: str | int | None = None
    message: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _ErrorDetail | str
    """OData has a structure here, OAuth a word."""


def error_of(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> SatchelError | None:
    """The error a status means, or None where the answer is good."""
    if status < 300 or status == 304:
        return None
    code, words = _said(body)
    told = f" It says: {words[:_SHOWN_CHARACTERS]}" if words else ""
    facts: dict[str, Any] = {"status": status, "source_code": code, "source_message": words}
    if "multipart" in headers.get("content-type", ""):  # of a batch: what failed stands inside
        facts |= {"content_type": headers["content-type"], "body": body}
    wait_seconds = retry_after_seconds(headers, now)
    if status == _TOO_MANY_REQUESTS or (status == _UNAVAILABLE and wait_seconds is not None):
        return SourceBusy(wait_seconds=wait_seconds or 0.0, **facts)
    if status == _GONE or (status == _BAD_REQUEST and code.lower() == EXPIRED_VERSION_STAMP):
        return DeltaLinkExpired(**facts)
    if status < 400:
        return SourceMisconfigured(
            "The source answers with a redirection.", hint="Give the address that it leads to.", **facts
        )
    if status == _UNAUTHORIZED:
        return SourceMisconfigured(
            f"The source does not accept the sign-in.{told}",
            hint="Check the client id, the secret and the scope, and that the application may use this source.",
            **facts,
        )
    if status == _FORBIDDEN:
        return RequestRefused(
            f"The source does not allow this.{told}", hint="Give the application user the privilege to read.", **facts
        )
    if status < 500 or status == _NOT_IMPLEMENTED:
        return RequestRefused(f"The source refused the request (status {status}).{told}", **facts)
    return SourceUnreachable(f"The source failed (status {status}).{told}", **facts)


def is_refusal_of_query(error: RequestRefused) -> bool:
    """Whether the service does not understand or support what was asked, as opposed to forbidding it."""
    return error.facts.get("status") in {_BAD_REQUEST, _NOT_IMPLEMENTED}


def is_refusal_of_link(error: RequestRefused) -> bool:
    """Whether a link that the service handed out itself leads nowhere any more."""
    return error.facts.get("status") in {_BAD_REQUEST, _NOT_FOUND}


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Units: seconds, as a number or a date (RFC 9110, section 10.2.3); None: the header is absent or unreadable."""
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS) if seconds == seconds else None


def _said(body: bytes) -> tuple[str, str]:
    """The source's own code and words."""
    try:
        error = msgspec.json.decode(body, type=_ErrorBody).error
    except msgspec.MsgspecError:
        return "", ""
    if isinstance(error, str):
        return error, ""
    words = " ".join((error.message or "").split())
    return str(error.code or ""), words[:_KEPT_CHARACTERS]
