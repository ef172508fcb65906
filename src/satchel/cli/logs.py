"""`satchel logs`: search what all services logged; it works while the services or the database are down."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from satchel.cli.options import json_option, load_settings, settings_options
from satchel.cli.output import console, print_json_line
from satchel.storage import Objects, open_objects
from satchel.telemetry import log
from satchel.telemetry.search import Record, Wanted, find_logs, follow_logs, time_of_record

EPILOG = """\b
  satchel logs --organization contoso --level warning        what went wrong in the last hour
  satchel logs --device ID --since 2d                        what the server saw of a device
  satchel logs --request ID                                  the request that a device's error names
  satchel logs --work-item playback --text "E202" --follow   as it comes in
"""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_COLORS = {"warning": "yellow", "error": "red", "critical": "red"}
_SHOWN_FIRST = ("timestamp", "level", "service", "organization", "event")
_HIDDEN = frozenset({*_SHOWN_FIRST, "instance", "span", "exception"})


class Moment(click.ParamType):  # type: ignore[type-arg]
    """A time: ISO 8601, or how long ago (90s, 15m, 2h, 3d)."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment, aware."""
        if isinstance(value, datetime):
            return value
        match = re.fullmatch(r"(\d+)([smhdw])", str(value))
        if match:
            return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(
                f"{value!r} is neither a time (2026-05-01T12:00) nor how long ago (90s, 15m, 2h, 3d).", param, ctx
            )
        return moment.astimezone() if moment.tzinfo is None else moment


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--organization", default="", help="Of this organization; without it all are read.")
@click.option("--service", default="", help="sync, worker, provisioning or supervisor.")
@click.option("--level", type=click.Choice(log.LEVELS), default="debug", help="At least.")
@click.option("--device", default="", help="About this device (id).")
@click.option("--work-item", default="", help="Of work items of this name, or of the one with this number.")
@click.option("--entity", default="", help="About this entity.")
@click.option("--request", "--trace", "trace", default="", help="Of this request or trace (id).")
@click.option("--text", default="", help="With this text anywhere.")
@click.option("--since", type=Moment(), default="1h", show_default=True, help="From this time on, or so long ago.")
@click.option("--until", type=Moment(), help="Up to this time.  [default: now]")
@click.option("--limit", type=click.IntRange(1), default=10_000, show_default=True, help="At most so many, the oldest.")
@click.option("--follow", is_flag=True, help="Go on with what comes in, until Ctrl-C.")
@settings_options
@json_option
def command(
    config: Path | None,
    data_folder: Path | None,
    as_json: bool,
    follow: bool,
    limit: int,
    until: datetime | None,
    **wanted: Any,
) -> None:
    """Search the logs of all services, in the order of time. They come in a few seconds after they were written."""
    settings = load_settings(config, data_folder)
    log.configure("warning", settings.log.format, "cli")
    chosen = Wanted(until=until or datetime.now(UTC) + timedelta(minutes=5), **wanted)
    with suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(_print(open_objects(settings), chosen, as_json=as_json, follow=follow, limit=limit))


async def _print(objects: Objects, wanted: Wanted, *, as_json: bool, follow: bool, limit: int) -> None:
    count = 0
    found: AsyncIterator[Record] = follow_logs(objects, wanted) if follow else find_logs(objects, wanted)
    async for record in found:
        print_json_line(record) if as_json else _print_record(record)
        count += 1
        if count == limit and not follow:
            if not as_json:
                console.print(f"There may be more: --limit, or --since {time_of_record(record).isoformat()}")
            return
    if not count and not as_json:
        console.print("No such logs. --since looks further back.")


def _print_record(record: Record) -> None:
    level = str(record.get("level", ""))
    color = _COLORS.get(level, "default")
    moment = time_of_record(record).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    fields = "  ".join(f"{key}={value}" for key, value in record.items() if key not in _HIDDEN)
    where = "/".join(str(part) for part in (record.get("service"), record.get("organization")) if part)
    line = f"{moment} [{color}]{level:8}[/] {escape(where)}  [bold]{escape(str(record.get('event', '')))}[/]"
    console.print(f"{line}  {escape(fields)}", soft_wrap=True)
    if "exception" in record:
        console.print(escape(str(record["exception"])), soft_wrap=True)
