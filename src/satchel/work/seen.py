"""A work item as logs, traces and metrics see it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from satchel.model.work import WorkItem
from satchel.telemetry import metrics
from satchel.telemetry.trace import IDLE, span, told

SLOW_SECONDS = 5.0


class SeenItem:
    """What became of it."""

    def __init__(self, made: trace.Span) -> None:
        """`made`: its span."""
        self._span = made
        self.is_idle = False
        """There was nothing to do."""
        self.outcome = ""

    def failed(self, error: BaseException) -> None:
        """It ended with an error, which is settled."""
        self.outcome = "failed"
        self._span.set_status(Status(StatusCode.ERROR, told(error)))


@contextmanager
def seen_item(item: WorkItem) -> Iterator[SeenItem]:
    """Around the running of a work item: its span (not kept where it found nothing to do), its fields in all logs."""
    fields = {"organization": item.organization, "entity": item.entity, "work_item": item.name.value}
    fields = {key: value for key, value in fields.items() if value}
    began = time.perf_counter()
    with (
        structlog.contextvars.bound_contextvars(**fields, work_item_number=item.number),
        span(
            item.name.value, parent=item.trace, kind=SpanKind.CONSUMER, work_item_number=item.number, **fields
        ) as made,
    ):
        seen = SeenItem(made)
        try:
            yield seen
        except BaseException:
            seen.outcome = seen.outcome or "failed"
            raise
        finally:
            seconds = time.perf_counter() - began
            seen.outcome = seen.outcome or ("idle" if seen.is_idle else "done")
            made.set_attribute("outcome", seen.outcome)
            if seen.outcome == "idle" and seconds < SLOW_SECONDS:
                made.set_attribute(IDLE, True)
            metrics.count("satchel_work_items_total", work_item=item.name.value, outcome=seen.outcome)
            metrics.observe("satchel_work_item_seconds", seconds, work_item=item.name.value)
