"""`satchel edits`: what devices changed, for administrators: what is stuck, and why; try it again, or close it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from satchel.administration import edits as administration
from satchel.administration.edits import Handled, Who
from satchel.cli.options import json_option, settings_options
from satchel.cli.output import console, print_json, print_rows, shown
from satchel.cli.rooms import run_with_rooms
from satchel.errors import InputInvalid
from satchel.journal.look import Chosen, SeenSet, Show
from satchel.model.edits import Action, Edit

EPILOG = """\b
What is stuck, why, and what can be done:
  satchel edits list contoso --show stuck
  satchel edits show contoso 17
  satchel edits retry contoso 17                    after a role was given, or the source was mended
  satchel edits retry contoso --all --entity task
  satchel edits close contoso 17 --reason "entered by phone"
"""
_BIGINT = 2**63 - 1


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Edits of devices, from the moment the server has them until they are settled (and 90 days beyond)."""


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, text in (
        ("entity", "Sets that change a row of this entity."),
        ("user", "Sets of this user (id)."),
        ("device", "Sets of this device (id)."),
    ):
        function = click.option(f"--{name}", help=text)(function)
    return function


@command.command("list")
@click.argument("name")
@click.option(
    "--show",
    type=click.Choice([each.value for each in Show]),
    default=Show.OPEN.value,
    show_default=True,
    help="open: not settled; stuck: tried, or waiting for a decision.",
)
@_filters
@click.option("--after", type=click.IntRange(0, _BIGINT), default=0, help="Only sets with a higher number.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@settings_options
@json_option
def list_edits(
    name: str, show: str, config: Path | None, data_folder: Path | None, as_json: bool, **filters: Any
) -> None:
    """One line an edit: when, who, which row, what, and what became of it."""
    chosen = Chosen(show=Show(show), **filters)
    found = run_with_rooms(config, data_folder, lambda rooms: administration.edits_of(rooms, name, chosen))
    if as_json:
        print_json([_for_programs(each, who) for each, who in found])
        return
    print_rows([_line(each, who, edit) for each, who in found for edit in each.edits], empty="No such edits.")
    if len(found) == chosen.limit:
        console.print(f"There may be more: --after {found[-1][0].number}")


@command.command()
@click.argument("name")
@click.argument("number", type=click.IntRange(1, _BIGINT))
@settings_options
@json_option
def show(name: str, number: int, config: Path | None, data_folder: Path | None, as_json: bool) -> None:
    """One edit set, whole: what it was made on, what it sets, what the source has, and its words."""
    chosen = Chosen(show=Show.ALL, numbers=(number,))
    found = run_with_rooms(config, data_folder, lambda rooms: administration.edits_of(rooms, name, chosen))
    if not found:
        raise InputInvalid(f"{name} has no edit set {number}.", hint=f"`satchel edits list {name}` shows them.")
    each, who = found[0]
    if as_json:
        print_json(_for_programs(each, who))
        return
    console.print(f"[bold]{each.number}[/bold]  {each.word}  {each.id} version {each.version}")
    console.print(f"User    {shown(who.user_name)} {shown(each.user)}, device {shown(who.device_name)} {each.device}")
    console.print(f"Made    {shown(each.made_at)}, received {_moment(each.received_at)}, tried {each.tries} times")
    if each.problem:
        console.print(f"Waits   {shown(each.problem)} Next try: {_moment(each.next_at)}")
    for edit in each.edits:
        _print_edit(each, edit)


@command.command()
@click.argument("name")
@click.argument("numbers", type=click.IntRange(1, _BIGINT), nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="All that are stuck (with the filters given).")
@_filters
@settings_options
@json_option
def retry(
    name: str,
    numbers: Sequence[int],
    is_all: bool,
    config: Path | None,
    data_folder: Path | None,
    as_json: bool,
    **filters: Any,
) -> None:
    """Have sets tried again now, unchanged: after a role was given, or the source was mended."""
    chosen = _chosen(numbers, is_all, filters)
    handled = run_with_rooms(config, data_folder, lambda rooms: administration.retry(rooms, name, chosen))
    _say(handled, "tried again", as_json)


@command.command()
@click.argument("name")
@click.argument("numbers", type=click.IntRange(1, _BIGINT), nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="All that are stuck (with the filters given).")
@_filters
@click.option("--reason", default="", help="What the user is told.")
@click.option("--even-if-executed", is_flag=True, help="Also sets that the source may have executed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings_options
@json_option
def close(
    name: str,
    numbers: Sequence[int],
    is_all: bool,
    reason: str,
    even_if_executed: bool,
    yes: bool,
    config: Path | None,
    data_folder: Path | None,
    as_json: bool,
    **filters: Any,
) -> None:
    """Give sets up: they go home as rejected, with the reason, and hold back nothing any more."""
    chosen = _chosen(numbers, is_all, filters)
    if not yes:
        what = "all that are stuck" if is_all else ", ".join(map(str, numbers))
        click.confirm(f"Close {what}? Users keep what they entered and may send it again.", abort=True)
    handled = run_with_rooms(
        config,
        data_folder,
        lambda rooms: administration.close(rooms, name, chosen, reason=reason[:500], even_if_executed=even_if_executed),
    )
    _say(handled, "closed", as_json)


def _chosen(numbers: Sequence[int], is_all: bool, filters: dict[str, Any]) -> Chosen:
    if bool(numbers) == is_all or (numbers and any(filters.values())):
        raise click.UsageError("Give numbers, or --all with filters.")
    if numbers:
        return Chosen(show=Show.ALL, numbers=tuple(numbers))
    return Chosen(show=Show.STUCK, **filters)


def _say(handled: Handled, done: str, as_json: bool) -> None:
    if as_json:
        print_json(handled)
        return
    console.print(f"{len(handled.done)} {done}.")
    if len(handled.done) + len(handled.settled) + len(handled.unsure) >= administration.MOST_AT_ONCE:
        console.print(f"One call takes {administration.MOST_AT_ONCE:,}: run it again for what is left.")
    if handled.settled:
        console.print(f"{len(handled.settled)} are settled: {_listed(handled.settled)}.")
    if handled.unsure:
        console.print(
            f"{len(handled.unsure)} may have been executed at the source and stay: {_listed(handled.unsure)}. "
            "Satchel finds out by itself once the source answers; --even-if-executed closes them anyway."
        )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:20])) + (" ..." if len(numbers) > 20 else "")


def _line(each: SeenSet, who: Who, edit: Edit) -> dict[str, object]:
    told = next((o for o in each.outcome.edits if o.id == edit.id), None) if each.outcome else None
    return {
        "set": str(each.number),
        "received": _moment(each.received_at),
        "user": who.user_name or each.user,
        "row": f"{edit.entity} {','.join(edit.key)}",
        "action": edit.action.value,
        "payload": ", ".join(f"{name}={value}" for name, value in edit.values.items())[:200],
        "state": each.word,
        "message": (told.message if told else each.problem) or "",
        "code": told.code if told else "",
    }


def _print_edit(each: SeenSet, edit: Edit) -> None:
    console.print(f"\n[bold]{edit.action} {shown(edit.entity)} {shown(','.join(edit.key))}[/bold]")
    told = next((o for o in each.outcome.edits if o.id == edit.id), None) if each.outcome else None
    if told:
        words = f"{told.message} {told.code}".strip()
        console.print(f"{told.verdict}{': ' if words else ''}{shown(words)}")
    base, theirs = edit.base or {}, (told.theirs if told else None) or {}
    names = list(edit.values) if edit.action is not Action.DELETE else sorted(theirs)
    rows = [
        {"attribute": name, "before": base.get(name), "edit": edit.values.get(name), "source": theirs.get(name)}
        for name in names
    ]
    if rows:
        print_rows([{key: "" if value is None else str(value) for key, value in row.items()} for row in rows])


def _for_programs(each: SeenSet, who: Who) -> dict[str, object]:
    return {**msgspec.to_builtins(each), "device_name": who.device_name, "user_name": who.user_name}


def _moment(moment: datetime | None) -> str:
    return moment.astimezone().isoformat(sep=" ", timespec="seconds") if moment else ""
