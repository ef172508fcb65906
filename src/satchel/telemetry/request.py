"""The request that is being answered, for the logs and spans that are made meanwhile."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode

from satchel.telemetry.trace import IDS, SAMPLED, parse_traceparent

_SCOPE = InstrumentationScope("satchel")
_current: ContextVar[SeenRequest | None] = ContextVar("satchel_request", default=None)


class SeenRequest:
    """A request from its first byte to its last. Its span is made at the end, if at all: most polls leave none.

    Cost: under a microsecond until it is entered.
    """

    __slots__ = (
        "_context", "_parent", "_traceparent", "began_ns", "bytes_sent", "device", "organization", "rows", "status",
    )  # fmt: skip

    def __init__(self, traceparent: bytes | None) -> None:
        """Begin; what is logged from here on in this task belongs to it."""
        self._traceparent = traceparent
        self._context: SpanContext | None = None
        self._parent: SpanContext | None = None
        self.began_ns = time.time_ns()
        self.organization = self.device = ""
        self.status = self.bytes_sent = self.rows = 0
        _current.set(self)

    @property
    def context(self) -> SpanContext:
        """Its trace and span, found out when first asked for."""
        if self._context is None:
            self._parent = parse_traceparent(self._traceparent.decode("latin-1")) if self._traceparent else None
            number = self._parent.trace_id if self._parent else IDS.generate_trace_id()
            self._context = SpanContext(number, IDS.generate_span_id(), is_remote=False, trace_flags=SAMPLED)
        return self._context

    def enter(self) -> None:
        """Spans that begin from here on in this task stand below it."""
        attach(trace.set_span_in_context(NonRecordingSpan(self.context)))

    def span(self, name: str, resource: Resource, end_ns: int, attributes: dict[str, Any]) -> ReadableSpan:
        """Its span."""
        told = {"status": self.status, "bytes": self.bytes_sent, "organization": self.organization,
                "device": self.device, "rows": self.rows, **attributes}  # fmt: skip
        context = self.context
        return ReadableSpan(
            name=name,
            context=context,
            parent=self._parent,
            resource=resource,
            attributes={key: value for key, value in told.items() if value},
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR, f"status {self.status}") if self.status >= 400 else Status(),
            start_time=self.began_ns,
            end_time=end_ns,
            instrumentation_scope=_SCOPE,
        )


def enter_request() -> None:
    """What is done from here on is worth its spans: more than a poll that finds nothing."""
    seen = _current.get()
    if seen is not None:
        seen.enter()


def note_caller(organization: str, device: str = "") -> None:
    """Who is being answered: known once the token was checked, so that nobody writes into another's partition."""
    seen = _current.get()
    if seen is not None:
        seen.organization, seen.device = organization, device


def note_rows(count: int) -> None:
    """So many rows go out with the answer."""
    seen = _current.get()
    if seen is not None:
        seen.rows += count


def add_request(_logger: object, _method: str, event: Any) -> Any:
    """A processor of log events: whose request it was, and its trace where nothing nearer told one."""
    seen = _current.get()
    if seen is not None:
        event.setdefault("trace", f"{seen.context.trace_id:032x}")
        event.setdefault("span", f"{seen.context.span_id:016x}")
        if seen.organization:
            event.setdefault("organization", seen.organization)
        if seen.device:
            event.setdefault("device", seen.device)
    return event
