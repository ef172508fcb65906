"""`satchel trace`: what a request or a work item led to, as a tree with durations."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec
from rich.markup import escape
from rich.tree import Tree

from satchel.cli.logs import Moment
from satchel.cli.options import json_option, load_settings, settings_options
from satchel.cli.output import console, print_json
from satchel.errors import InputInvalid
from satchel.storage import Objects, open_objects
from satchel.telemetry import log
from satchel.telemetry.search import Record, Wanted, find_logs, find_spans, time_of_record
from satchel.telemetry.trace import SpanRecord, time_of

LOOK_AHEAD = timedelta(hours=2)
_ID = re.compile(r"[0-9a-f]{32}")
_HIDDEN = frozenset({"endpoint", "route", "outcome"})


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("trace_id", metavar="ID")
@click.option("--organization", default="", help="Of this organization; without it all are read.")
@click.option("--since", type=Moment(), help="Where the id does not tell its time: from this time on, or so long ago.")
@click.option("--until", type=Moment(), help="Up to this time.  [default: two hours after it began]")
@settings_options
@json_option
def command(
    trace_id: str,
    organization: str,
    since: datetime | None,
    until: datetime | None,
    config: Path | None,
    data_folder: Path | None,
    as_json: bool,
) -> None:
    """Show the trace ID: requests, work items, pages, edit sets, requests to the source, transactions, and their logs.

    The ID stands in a device's error ("Request: ..."), and as `trace` in the logs.
    """
    settings = load_settings(config, data_folder)
    log.configure("warning", settings.log.format, "cli")
    trace_id = trace_id.replace("-", "").lower()
    if not _ID.fullmatch(trace_id):
        raise InputInvalid(f"{trace_id!r} is not a trace id: 32 hexadecimal digits.")
    began = since or time_of(trace_id) or datetime.now(UTC) - timedelta(hours=1)
    end = until or began + LOOK_AHEAD
    wanted = Wanted(since=began - timedelta(minutes=5), until=end, organization=organization, trace=trace_id)
    spans, records = asyncio.run(_find(open_objects(settings), wanted))
    if as_json:
        print_json({"spans": [msgspec.to_builtins(span) for span in spans], "logs": records})
    elif not spans and not records:
        console.print(
            f"Nothing of it between {_local(wanted.since)} and {_local(end)}. --since and --until look elsewhere."
        )
    else:
        _print_tree(trace_id, spans, records)


async def _find(objects: Objects, wanted: Wanted) -> tuple[list[SpanRecord], list[Record]]:
    return await find_spans(objects, wanted), [record async for record in find_logs(objects, wanted)]


def _print_tree(trace_id: str, spans: list[SpanRecord], records: list[Record]) -> None:
    """Children below their parents, in order of their beginnings; what has no parent here stands at the top."""
    top = Tree(f"[bold]{trace_id}[/bold]")
    known = {span.span: span for span in spans}
    children: dict[str, list[SpanRecord]] = {}
    for span in spans:
        children.setdefault(span.parent if span.parent in known else "", []).append(span)
    logs: dict[str, list[Record]] = {}
    for record in records:
        place = str(record.get("span", ""))
        logs.setdefault(place if place in known else "", []).append(record)

    def add(tree: Tree, place: str) -> None:
        for record in logs.get(place, ()):
            tree.add(_log_line(record))
        for span in children.get(place, ()):
            add(tree.add(_line(span)), span.span)

    add(top, "")
    console.print(top, soft_wrap=True)


def _log_line(record: Record) -> str:
    words = f"{record.get('level')}: {record.get('event')}"
    return f"[dim]{_clock(time_of_record(record))} {escape(words)}[/dim]  {escape(str(record.get('reason', '')))}"


def _line(span: SpanRecord) -> str:
    fields = "  ".join(f"{key}={value}" for key, value in span.attributes.items() if key not in _HIDDEN)
    duration = f"{span.seconds * 1000:,.1f} ms" if span.seconds < 10 else f"{span.seconds:,.1f} s"
    error = f"  [red]{escape(span.error)}[/red]" if span.error else ""
    return f"[bold]{escape(span.name)}[/bold]  {duration}  {span.service} {_clock(span.start)}  {escape(fields)}{error}"


def _clock(moment: datetime) -> str:
    return moment.astimezone().strftime("%H:%M:%S.%f")[:-3]


def _local(moment: datetime) -> str:
    return moment.astimezone().isoformat(sep=" ", timespec="seconds")
