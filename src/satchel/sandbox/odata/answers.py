"""Requests and answers as the rest of the folder sees them, and the errors in the form of the Web API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

API = "/api/data/v9.2/"
JSON = "application/json; odata.metadata=minimal"
_ENCODER = msgspec.json.Encoder()
_MAX_DIGITS = 18
"""What SQLite's integers hold in any case."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request; a part of a batch looks the same."""

    method: str
    path: str
    """Decoded, below the service root."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes = b""
    base: str
    """`http://host:port`."""
    content_id: str | None = None

    @property
    def root(self) -> str:
        """The service root."""
        return self.base + API

    @property
    def preferences(self) -> dict[str, str]:
        """The `Prefer` header, by lower-case name."""
        found = {}
        for part in _split_quoted(self.headers.get("prefer", "")):
            name, _, value = part.partition("=")
            found[name.strip().lower()] = value.strip().strip('"')
        return found

    def json(self) -> dict[str, Any]:
        """The body as a JSON object. Errors: ODataError 400."""
        try:
            value = msgspec.json.decode(self.body or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ODataError(400, "0x80048d19", f"Error identified in Payload provided by the user: {error}") from error
        if not isinstance(value, dict):
            raise ODataError(
                400, "0x80048d19", "Error identified in Payload provided by the user: an object is expected."
            )
        return value


class Answer(msgspec.Struct, kw_only=True):
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}

    @classmethod
    def json(cls, value: object, status: int = 200, **headers: str) -> Answer:
        """A JSON answer."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return cls(status=status, body=_ENCODER.encode(value), headers={"content-type": JSON, **named})


class ODataError(Exception):
    """A refusal, in the words and with the code of the Web API where they are documented."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        """Keep status, code and message; headers with underscores for hyphens."""
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(self) -> Answer:
        """The error as an answer. Source: OData JSON Format 4.01, section 21.1."""
        body = {"error": {"code": self.code, "message": self.message}}
        return Answer.json(body, self.status, **self.headers)


def not_found(entity: str, key: str) -> ODataError:
    """The row does not exist."""
    return ODataError(404, "0x80040217", f"{entity} With Id = {key} Does Not Exist")


def whole_number(text: str) -> int | None:
    """A number without a sign; None for anything else, or what no counter reaches."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def parse_query(text: str) -> dict[str, str]:
    """Query options by name."""
    return dict(parse_qsl(text, keep_blank_values=True))


def parse_path(text: str) -> str:
    """A decoded path."""
    return unquote(text)


def _split_quoted(text: str) -> list[str]:
    parts, current, is_quoted = [], "", False
    for character in text:
        is_quoted ^= character == '"'
        if character == "," and not is_quoted:
            parts.append(current)
            current = ""
        else:
            current += character
    return [part for part in [*parts, current] if part.strip()]
