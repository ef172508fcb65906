"""Logs are events with fields: readable lines on a terminal, JSON elsewhere. Nothing secret passes."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from satchel.telemetry.redact import redact_event

_QUIET_LOGGERS = {"httpx": "WARNING", "httpcore": "WARNING", "procrastinate": "ERROR", "psycopg.pool": "ERROR"}


def configure(level: str, form: Literal["console", "json", "auto"], service: str) -> None:
    """Route our events and the libraries' messages to stderr."""
    is_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_service(service),
        structlog.processors.format_exc_info,  # tracebacks become text without local variables
        redact_event,
    ]
    renderer = structlog.processors.JSONRenderer() if is_json else structlog.dev.ConsoleRenderer(sys.stderr.isatty())
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


def _name_service(service: str) -> Any:
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("service", service)
        return event

    return add
