"""Logs are events with fields: readable lines on a terminal, JSON elsewhere. Nothing secret passes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, Literal

import structlog
from structlog.stdlib import ProcessorFormatter

from satchel.telemetry.redact import redact_event
from satchel.telemetry.request import add_request
from satchel.telemetry.trace import add_trace

LEVELS = ("debug", "info", "warning", "error", "critical")
_QUIET_LOGGERS = {
    "httpx": "WARNING", "httpcore": "WARNING", "procrastinate": "ERROR", "psycopg.pool": "ERROR", "urllib3": "ERROR",
    "opentelemetry": "ERROR", "requests": "ERROR",
}  # fmt: skip


def configure(level: str, form: Literal["console", "json", "auto"], service: str) -> None:
    """Route our events and the libraries' messages to stderr."""
    is_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared = _processors(service)
    renderer = structlog.processors.JSONRenderer() if is_json else structlog.dev.ConsoleRenderer(sys.stderr.isatty())
    structlog.configure(
        processors=[*shared, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(foreign_pre_chain=shared, processors=[ProcessorFormatter.remove_processors_meta, renderer])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, quiet_level in _QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(quiet_level)


class TakingHandler(logging.Handler):
    """Hands each event on as its fields, as they are written: without secrets."""

    def __init__(self, take: Callable[[dict[str, Any]], None], service: str) -> None:
        """`take` must not block."""
        super().__init__()

        def taking(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
            take(dict(event))
            return ""

        chain: list[Any] = [ProcessorFormatter.remove_processors_meta, taking]
        self.setFormatter(ProcessorFormatter(foreign_pre_chain=_processors(service), processors=chain))

    def emit(self, record: logging.LogRecord) -> None:
        """Take an event; a failure to do so is none of the service's business."""
        with suppress(Exception):
            self.format(record)


def _processors(service: str) -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_service(service),
        add_trace,
        add_request,
        structlog.processors.format_exc_info,  # tracebacks become text without local variables
        redact_event,
    ]


def _name_service(service: str) -> Any:
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("service", service)
        return event

    return add
