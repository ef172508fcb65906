"""`satchel trace`: what a request or a work item led to, as a tree with durations."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import click
import msgspec
from rich.markup import escape
from rich.tree import Tree

from satchel.administration.traces import Branch, Trace, find_trace
from satchel.cli.logs import Moment
from satchel.cli.options import json_option, load_settings, settings_options
from satchel.cli.output import console, print_json
from satchel.storage import open_objects
from satchel.telemetry import log
from satchel.telemetry.search import Record, time_of_record
from satchel.telemetry.trace import SpanRecord

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
    found = asyncio.run(
        find_trace(open_objects(settings), trace_id, organization=organization, since=since, until=until)
    )
    if as_json:
        print_json({"spans": [msgspec.to_builtins(span) for span in found.spans], "logs": found.records})
    elif not found.spans and not found.records:
        times = f"{_local(found.since)} and {_local(found.until)}"
        console.print(f"Nothing of it between {times}. --since and --until look elsewhere.")
    else:
        _print_tree(found)


def _print_tree(found: Trace) -> None:
    top = Tree(f"[bold]{found.id}[/bold]")

    def add(tree: Tree, branch: Branch) -> None:
        for record in branch.records:
            tree.add(_log_line(record))
        for each in branch.branches:
            if each.span is not None:
                add(tree.add(_line(each.span)), each)

    add(top, found.top)
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
