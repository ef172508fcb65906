"""Searching what is kept: streams in the order of time, reading only the hours and organizations that are asked for."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import zstandard

from satchel.storage import Objects
from satchel.telemetry.partition import ROOT, SYSTEM, Kind, folder_of, hours, partition, writer_of
from satchel.telemetry.trace import SpanRecord

FOLLOW_SECONDS = 1.0
PIECE_BYTES = 4096
LATE_SECONDS = 120.0
"""How long after its time a record may still come in, from a process whose store was away."""
_LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3, "critical": 4}
Record = dict[str, Any]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; what is empty does not matter."""

    since: datetime
    until: datetime
    organization: str = ""
    service: str = ""
    level: str = "debug"
    """At least."""
    device: str = ""
    work_item: str = ""
    """Its name or number."""
    entity: str = ""
    trace: str = ""
    text: str = ""
    """Anywhere in the record, in any case."""

    def fits(self, record: Record) -> bool:
        """Whether a log record is wanted."""
        pairs = ((self.service, "service"), (self.device, "device"), (self.entity, "entity"), (self.trace, "trace"))
        if any(value and record.get(name) != value for value, name in pairs):
            return False
        if self.work_item and self.work_item not in {record.get("work_item"), str(record.get("work_item_number"))}:
            return False
        if _LEVELS.get(str(record.get("level")), 1) < _LEVELS[self.level]:
            return False
        at = time_of_record(record)
        return self.since <= at <= self.until and (not self.text or self._has_text(record))

    def _has_text(self, record: Record) -> bool:
        return self.text.lower() in msgspec.json.encode(record).decode().lower()


async def find_logs(objects: Objects, wanted: Wanted) -> AsyncIterator[Record]:
    """Log records, oldest first. Cost: one list for each hour and organization, memory of one piece of an object for
    each process that wrote in that hour."""
    for hour in hours(wanted.since, wanted.until):
        async for record in _of_hour(objects, Kind.LOGS, wanted, hour, set()):
            yield record


async def find_newest(objects: Objects, wanted: Wanted, limit: int, *, skip: int = 0) -> list[Record]:
    """The newest log records, newest first; `skip`: so many of the moment `wanted.until` itself are left out.

    Cost: hours are read backwards until enough is found; memory of `limit` records.
    """
    found: list[Record] = []
    for hour in reversed(list(hours(wanted.since, wanted.until))):
        kept: deque[Record] = deque(maxlen=limit + skip - len(found))
        async for record in _of_hour(objects, Kind.LOGS, wanted, hour, set()):
            kept.append(record)
        found += reversed(kept)
        if len(found) >= limit + skip:
            break
    return [each for number, each in enumerate(found) if number >= skip or time_of_record(each) != wanted.until][:limit]


async def follow_logs(objects: Objects, wanted: Wanted) -> AsyncIterator[Record]:
    """Log records as they come in, without end."""
    seen: set[str] = set()
    late = timedelta(seconds=LATE_SECONDS)
    while True:
        now = datetime.now(UTC)
        window = msgspec.structs.replace(wanted, until=now + late)
        for hour in hours(max(wanted.since, now - late), now):
            async for record in _of_hour(objects, Kind.LOGS, window, hour, seen):
                yield record
        oldest = {partition(Kind.LOGS, "", hour).rsplit("//", 1)[-1] for hour in hours(now - 2 * late, now)}
        seen = {path for path in seen if any(part in path for part in oldest)}
        await asyncio.sleep(FOLLOW_SECONDS)


async def find_spans(objects: Objects, wanted: Wanted) -> list[SpanRecord]:
    """The spans of the trace `wanted.trace`, in order of their beginnings."""
    found: list[SpanRecord] = []
    for hour in hours(wanted.since, wanted.until):
        async for path in _paths(objects, Kind.TRACES, wanted, hour):
            async for line in _lines(objects, path):
                if wanted.trace.encode() in line:
                    span = msgspec.json.decode(line, type=SpanRecord)
                    if span.trace == wanted.trace:
                        found.append(span)
    return sorted(found, key=lambda span: span.start)


def time_of_record(record: Record) -> datetime:
    """When a log record was made."""
    try:
        return datetime.fromisoformat(str(record["timestamp"]))
    except (KeyError, ValueError):
        return datetime.fromtimestamp(0, UTC)


async def _of_hour(
    objects: Objects, kind: Kind, wanted: Wanted, hour: datetime, seen: set[str]
) -> AsyncIterator[Record]:
    """An hour's records, those of all processes merged by time; objects in `seen` are left out, the others added."""
    by_writer: dict[str, list[str]] = {}
    async for path in _paths(objects, kind, wanted, hour):
        if path not in seen:
            by_writer.setdefault(f"{path.rsplit('/', 1)[0]}/{writer_of(path)}", []).append(path)
            seen.add(path)
    streams = [_records(objects, sorted(paths), wanted) for paths in by_writer.values()]
    waiting: list[tuple[datetime, int, Record]] = []
    for number, stream in enumerate(streams):
        await _push(waiting, number, stream)
    while waiting:
        _, number, record = heapq.heappop(waiting)
        yield record
        await _push(waiting, number, streams[number])


async def _push(waiting: list[tuple[datetime, int, Record]], number: int, stream: AsyncIterator[Record]) -> None:
    record = await anext(stream, None)
    if record is not None:
        heapq.heappush(waiting, (time_of_record(record), number, record))


async def _records(objects: Objects, paths: list[str], wanted: Wanted) -> AsyncIterator[Record]:
    needles = [part.encode() for part in (wanted.device, wanted.trace, wanted.entity) if part]
    for path in paths:
        async for line in _lines(objects, path):
            if all(needle in line for needle in needles):
                record = msgspec.json.decode(line)
                if wanted.fits(record):
                    yield record


async def _paths(objects: Objects, kind: Kind, wanted: Wanted, hour: datetime) -> AsyncIterator[str]:
    if wanted.organization and folder_of(wanted.organization) != wanted.organization:
        return  # no name: it must not become part of a path
    folders = [wanted.organization] if wanted.organization else await objects.folders(f"{ROOT}/{kind.value}")
    if wanted.organization and (wanted.trace or wanted.device):
        folders.append(SYSTEM)  # refused before it was known whose it is
    for folder in folders:
        async for info in objects.listed(partition(kind, folder, hour)):
            yield info.path


async def _lines(objects: Objects, path: str) -> AsyncIterator[bytes]:
    decompress, rest = zstandard.ZstdDecompressor().decompressobj(), b""
    try:
        async for chunk in objects.stream(path):
            for start in range(0, len(chunk), PIECE_BYTES):  # a piece may grow a hundredfold
                piece = decompress.decompress(chunk[start : start + PIECE_BYTES])
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line:
                        yield line
    except zstandard.ZstdError:  # what is damaged ends here; the rest of the search goes on
        return
