"""Health, logs and traces: what is not well and what to do; what was logged, the newest first; one trace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from litestar import Controller, get
from msgspec import Meta

from satchel.administration.doctor.examine import examine
from satchel.administration.doctor.finding import Level
from satchel.administration.traces import find_trace
from satchel.console.desk import AnyRequest, Desk, Visit
from satchel.console.forms import Form, Name, address, read_query
from satchel.console.render import Page, page
from satchel.errors import RequestInvalid
from satchel.provisioning.processes import Processes
from satchel.storage import open_objects
from satchel.telemetry.log import LEVELS
from satchel.telemetry.search import Record, Wanted, find_newest, time_of_record

PAGE_SIZE = 100
SPANS = {"15m": 0.25, "1h": 1.0, "6h": 6.0, "1d": 24.0, "3d": 72.0, "2w": 336.0}
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
"""Nothing is older."""
_SHOWN = frozenset({"timestamp", "level", "service", "organization", "event", "instance", "span", "trace", "exception"})


class Examined(Form, frozen=True, kw_only=True):
    """Whether sources are asked too."""

    sources: bool = False


class Looked(Form, frozen=True, kw_only=True):
    """What is looked for in the logs."""

    organization: Name = ""
    service: Name = ""
    level: Literal["debug", "info", "warning", "error"] = "info"
    device: Name = ""
    work_item: Name = ""
    trace: Annotated[str, Meta(max_length=40)] = ""
    text: Name = ""
    back: Literal["15m", "1h", "6h", "1d", "3d", "2w"] = "1h"
    until: Annotated[str, Meta(max_length=40)] = ""
    skip: Annotated[int, Meta(ge=0, le=10_000)] = 0


class Placed(Form, frozen=True, kw_only=True):
    """Where a trace is looked for."""

    organization: Name = ""


class WatchingController(Controller):
    """Beside the organizations."""

    @get("/health")
    async def health(self, request: AnyRequest, desk: Desk, visit: Visit) -> Page:
        """What `satchel doctor` finds."""
        asked = read_query(request, Examined)
        findings, _, queue = await examine(desk.rooms, is_asking=asked.sources)
        bad = [each for each in findings if each.level is not Level.GOOD]
        good = [each for each in findings if each.level is Level.GOOD]
        processes = await Processes(desk.rooms.control).all() if queue is not None else []
        return page("health.html", visit, bad=bad, good=good, queue=queue, processes=processes, asked=asked)

    @get("/logs")
    async def logs(self, request: AnyRequest, desk: Desk, visit: Visit) -> Page:
        """Logs of all services, the newest first."""
        looked = read_query(request, Looked)
        wanted = _wanted(looked, datetime.now(UTC))
        objects = open_objects(desk.rooms.settings)
        found = await find_newest(objects, wanted, PAGE_SIZE + 1, skip=looked.skip)
        records, more = found[:PAGE_SIZE], ""
        if len(found) > PAGE_SIZE:
            more = _older(looked, records, wanted)
        return page(
            "logs.html", visit, looked=looked, records=records, more=more, spans=list(SPANS), levels=LEVELS[:4],
            wanted=wanted, time_of=time_of_record, shown=_SHOWN,
        )  # fmt: skip

    @get("/traces/{number:str}")
    async def trace(self, number: str, request: AnyRequest, desk: Desk, visit: Visit) -> Page:
        """What a request or a work item led to."""
        placed = read_query(request, Placed)
        found = await find_trace(open_objects(desk.rooms.settings), number, organization=placed.organization)
        return page("trace.html", visit, found=found, time_of=time_of_record)


def _wanted(looked: Looked, now: datetime) -> Wanted:
    until = min(_until(looked.until), now + timedelta(minutes=5))  # each hour that is looked at costs
    since = min(now, until) - timedelta(hours=SPANS[looked.back])
    return Wanted(
        since=since,
        until=until,
        organization=looked.organization.strip(),
        service=looked.service.strip(),
        level=looked.level,
        device=looked.device.strip(),
        work_item=looked.work_item.strip(),
        trace=looked.trace.replace("-", "").strip().lower(),
        text=looked.text,
    )


def _until(text: str) -> datetime:
    """A time of an address; none: the end of time. Errors: RequestInvalid."""
    try:
        at = datetime.fromisoformat(text or "9999-12-31")
        return max(at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC), _FIRST)
    except (ValueError, OverflowError) as error:
        raise RequestInvalid("The time is none.") from error


def _older(looked: Looked, records: list[Record], wanted: Wanted) -> str:
    """The address of the next page: up to the oldest that is shown, without those of the same moment."""
    oldest = time_of_record(records[-1])
    same = sum(time_of_record(each) == oldest for each in records)
    skip = same + (looked.skip if oldest == wanted.until else 0)
    fields = {name: getattr(looked, name) for name in Looked.__struct_fields__}
    return address("/logs", **{**fields, "until": oldest.isoformat(), "skip": skip})
