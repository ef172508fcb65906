"""Logs are events with fields: readable lines on a terminal, JSON elsewhere. Nothing secret passes."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

REDACTED = "(redacted)"
_SECRET_WORDS = ("token", "secret", "password", "authorization", "passphrase")
_QUIET_LOGGERS = {"httpx": "WARNING", "httpcore": "WARNING", "procrastinate": "ERROR", "psycopg.pool": "ERROR"}


def configure(level: str, form: Literal["console", "json", "auto"], service: str) -> None:
    """Route our events and the libraries' messages to stderr."""
    is_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_service(service),
        redact,
        structlog.processors.format_exc_info if is_json else _pass,
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
    """Replace the values of fields whose names say that they are secret."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = REDACTED
    return event


def _console() -> structlog.dev.ConsoleRenderer:
    """Plain tracebacks: the default ones print local variables, and a secret may be one of them."""
    return structlog.dev.ConsoleRenderer(sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _name_service(service: str) -> Any:
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("service", service)
        return event

    return add


def _pass(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return event
