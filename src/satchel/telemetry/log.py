"""Logs are events with fields: readable lines on a terminal, JSON elsewhere. Nothing secret passes."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from io import StringIO
from typing import Any, Literal, TextIO

import structlog

REDACTED = "(redacted)"
_SECRET_WORDS = ("token", "secret", "password", "authorization", "passphrase", "assertion", "cookie")
_SECRET_TEXT = re.compile(
    r"(?P<kept>\bBearer\s+|://[^\s/:@]*:(?=[^\s/@]*@)"
    r"|(?:password|passphrase|client_secret|\w+_token|code_verifier|authorization)['\"]?\s*[:=]\s*['\"]?)"
    r"(?P<value>(?:Bearer\s+)?[^\s&@,;'\"]+)"
    r"|\bsatd_[\w-]{20,}|\beyJ[\w-]{8,}\.[\w-]*\.[\w-]*",
    re.IGNORECASE,
)
"""Credentials as they stand in texts: bearer headers, connection strings, forms, our device tokens, JWTs."""
_DEPTH = 8
_MACHINERY = {"exc_info", "_record", "_from_structlog"}
"""What structlog itself carries along."""
_QUIET_LOGGERS = {"httpx": "WARNING", "httpcore": "WARNING", "procrastinate": "ERROR", "psycopg.pool": "ERROR"}


def configure(level: str, form: Literal["console", "json", "auto"], service: str) -> None:
    """Route our events and the libraries' messages to stderr."""
    is_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_service(service),
        structlog.processors.format_exc_info if is_json else _pass,
        redact,
    ]
    renderer = structlog.processors.JSONRenderer() if is_json else _console()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, quiet_level in _QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(quiet_level)


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the values of fields whose names say that they are secret, however deep, and credentials in texts."""
    for key in event:
        if key not in _MACHINERY:
            event[key] = _redacted(key, event[key], _DEPTH)
    return event


def redact_text(text: str) -> str:
    """A text without the credentials that can be told by their form."""
    return _SECRET_TEXT.sub(lambda found: (found["kept"] or "") + REDACTED, text)


def _redacted(key: str, value: Any, depth: int) -> Any:
    if any(word in key.lower() for word in _SECRET_WORDS):
        return REDACTED
    match value:
        case str():
            return redact_text(value)
        case Mapping() if depth:
            return {name: _redacted(str(name), each, depth - 1) for name, each in value.items()}
        case list() | tuple() | set() | frozenset() if depth:
            return [_redacted("", each, depth - 1) for each in value]
        case None | bool() | int() | float() | BaseException():
            return value
    return redact_text(str(value)) if depth else REDACTED


def _console() -> structlog.dev.ConsoleRenderer:
    """Plain tracebacks: the default ones print local variables, and a secret may be one of them."""
    return structlog.dev.ConsoleRenderer(sys.stderr.isatty(), exception_formatter=_plain_traceback)


def _plain_traceback(stream: TextIO, exc_info: Any) -> None:
    written = StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    stream.write(redact_text(written.getvalue()))


def _name_service(service: str) -> Any:
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("service", service)
        return event

    return add


def _pass(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return event
