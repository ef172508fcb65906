"""A trace as a tree: what a request or a work item led to, with what was logged meanwhile."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec

from satchel.errors import InputInvalid
from satchel.storage import Objects
from satchel.telemetry.search import Record, Wanted, find_logs, find_spans
from satchel.telemetry.trace import SpanRecord, time_of

LOOK_AHEAD = timedelta(hours=2)
_LOOK_BACK = timedelta(minutes=5)
_ID = re.compile(r"[0-9a-f]{32}")


class Branch(msgspec.Struct, frozen=True):
    """A span, what was logged in it, and the spans below."""

    span: SpanRecord | None
    """None: what has no parent here stands below the top."""
    records: list[Record]
    branches: list[Branch]


class Trace(msgspec.Struct, frozen=True):
    """All that is kept of a trace, between two times."""

    id: str
    since: datetime
    until: datetime
    spans: list[SpanRecord]
    records: list[Record]

    @property
    def top(self) -> Branch:
        """As a tree: children below their parents, in order of their beginnings."""
        known = {span.span for span in self.spans}
        children: dict[str, list[SpanRecord]] = {}
        for span in self.spans:
            children.setdefault(span.parent if span.parent in known else "", []).append(span)
        logs: dict[str, list[Record]] = {}
        for record in self.records:
            place = str(record.get("span", ""))
            logs.setdefault(place if place in known else "", []).append(record)

        def below(place: str, span: SpanRecord | None) -> Branch:
            # What is taken out of `children` comes once, also where damaged spans name each other as parents.
            inner = [below(each.span, each) for each in children.pop(place, [])]
            return Branch(span, logs.get(place, []), inner)

        return below("", None)


async def find_trace(
    objects: Objects,
    trace_id: str,
    *,
    organization: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> Trace:
    """The trace of this id; without times, where its id says. Errors: InputInvalid (it is no id)."""
    trace_id = trace_id.replace("-", "").lower()
    if not _ID.fullmatch(trace_id):
        raise InputInvalid(f"{trace_id[:100]!r} is not a trace id: 32 hexadecimal digits.")
    began = since or time_of(trace_id) or datetime.now(UTC) - timedelta(hours=1)
    end = until or began + LOOK_AHEAD
    wanted = Wanted(since=began - _LOOK_BACK, until=end, organization=organization, trace=trace_id)
    spans = await find_spans(objects, wanted)
    records = [record async for record in find_logs(objects, wanted)]
    return Trace(trace_id, wanted.since, end, spans, records)
