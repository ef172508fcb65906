"""Traces: who asked, what ran, how long it took - from the device's request through queue and worker to the source.

The rooms below make their spans with OpenTelemetry's own interface; here stand what is done with them, and the ids. An
id begins with the time it was made at, so that a search knows where to look. Source: W3C Trace Context, section 3.2.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from satchel.errors import SatchelError
from satchel.telemetry.redact import redact

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
IDLE = "satchel.idle"
"""On a work item that found nothing to do: its spans are not kept."""
MAX_HELD = 20_000
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_tracer = trace.get_tracer("satchel")
Sink = Callable[[ReadableSpan], None]


class TimedIds(IdGenerator):
    """Trace ids whose first 48 bits are the time in milliseconds; the rest is random."""

    def generate_span_id(self) -> int:
        """A random span id."""
        return random.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        """A trace id of now."""
        return (time.time_ns() // 1_000_000) << 80 | random.getrandbits(80)


IDS = TimedIds()


def time_of(trace_id: str) -> datetime | None:
    """When a trace began, by its id; None where it was not made by Satchel."""
    try:
        moment = datetime.fromtimestamp(int(trace_id[:12], 16) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if 2020 <= moment.year <= datetime.now(UTC).year + 1 else None


class SpanRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A span as it is kept: one line of JSON."""

    trace: str
    span: str
    parent: str = ""
    name: str
    service: str
    instance: str
    start: datetime
    seconds: float
    error: str = ""
    attributes: dict[str, Any] = {}


def record_of(span: ReadableSpan) -> SpanRecord:
    """What is kept of a span; nothing secret is."""
    start, end = span.start_time or 0, span.end_time or 0
    resource = span.resource.attributes
    is_error = span.status.status_code is StatusCode.ERROR
    return SpanRecord(
        trace=format(span.context.trace_id, "032x"),
        span=format(span.context.span_id, "016x"),
        parent=format(span.parent.span_id, "016x") if span.parent else "",
        name=span.name,
        service=str(resource.get("service.name", "")),
        instance=str(resource.get("service.instance.id", "")),
        start=datetime.fromtimestamp(start / 1e9, UTC),
        seconds=round((end - start) / 1e9, 6),
        error=redact(span.status.description or "error") if is_error else "",
        attributes=redact(dict(span.attributes or {})),
    )


class Tail(SpanProcessor):
    """Hands spans on once the work they belong to is done; what turned out idle is forgotten."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        """`sinks` must not block."""
        self._sinks = sinks
        self._held: dict[int, list[ReadableSpan]] = {}  # by trace
        self._count = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """A span without a parent in this process begins a piece of work."""
        if _is_first(span):
            self._held.setdefault(span.context.trace_id, [])

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it with its work, or hand it on."""
        number = span.context.trace_id
        if _is_first(span):
            held = self._held.pop(number, [])
            self._count -= len(held)
            if not (span.attributes or {}).get(IDLE):
                for each in (*held, span):
                    self.hand_on(each)
        elif number in self._held and self._count < MAX_HELD:
            self._held[number].append(span)
            self._count += 1
        else:
            self.hand_on(span)

    def hand_on(self, span: ReadableSpan) -> None:
        """To all sinks."""
        for sink in self._sinks:
            sink(span)


def _is_first(span: ReadableSpan) -> bool:
    return span.parent is None or span.parent.is_remote


def start_tracing(service: str, instance: str, sinks: Sequence[Sink]) -> tuple[Tail, Resource]:
    """Make this process's spans go to the sinks. Once a process."""
    resource = Resource.create(
        {"service.name": service, "service.namespace": "satchel", "service.instance.id": instance}
    )
    tail = Tail(sinks)
    provider = TracerProvider(resource=resource, id_generator=IDS, shutdown_on_exit=False)
    provider.add_span_processor(tail)
    trace.set_tracer_provider(provider)
    return tail, resource


@contextmanager
def span(name: str, *, parent: str = "", kind: SpanKind = SpanKind.INTERNAL, **attributes: Any) -> Iterator[trace.Span]:
    """A span around the block; `parent` (traceparent) is where it was asked for, else the span around this one."""
    context = context_of(parent) if parent else None
    given = {key: value for key, value in attributes.items() if value not in (None, "")}
    with _tracer.start_as_current_span(
        name, context, kind, given, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except Exception as error:
            made.set_status(Status(StatusCode.ERROR, told(error)))
            raise


def told(error: BaseException) -> str:
    """An error as a span has it: our own message, of others only the class, for theirs may hold anything."""
    return f"{error.message} [{error.code}]" if isinstance(error, SatchelError) else type(error).__name__


def parse_traceparent(text: str | None) -> SpanContext | None:
    """The context that a header tells, or None. Whatever comes from outside is kept: it is for us to decide."""
    match = _TRACEPARENT.fullmatch(text or "")
    if match is None:
        return None
    context = SpanContext(int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=SAMPLED)
    return context if context.is_valid else None


def context_of(traceparent: str) -> Context | None:
    """A context whose current span is the one told; None where it tells none."""
    told_context = parse_traceparent(traceparent)
    return trace.set_span_in_context(NonRecordingSpan(told_context), Context()) if told_context else None


def current_traceparent() -> str:
    """The header for what this asks of others; empty outside of a trace."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def add_trace(_logger: object, _method: str, event: Any) -> Any:
    """A processor of log events: which trace and span it happened in."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event.setdefault("trace", f"{context.trace_id:032x}")
        event.setdefault("span", f"{context.span_id:016x}")
    return event
