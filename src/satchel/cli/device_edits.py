"""`satchel device edit|pending|conflicts|resolve|retry|discard|export`: changes made here, and what became of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from satchel.cli.device_options import with_device
from satchel.cli.options import json_option
from satchel.cli.output import console, print_json, print_rows, shown
from satchel.device import Choice, Device, PendingSet
from satchel.device.edits.verdicts import MINE, THEIRS, conflicts_of
from satchel.device.edits.wire import parse_text
from satchel.errors import InputInvalid
from satchel.model.client_model import ClientAttribute
from satchel.model.edits import Action, Edit, EditOutcome


@click.command()
@click.argument("action", type=click.Choice(["create", "update", "delete"]))
@click.argument("entity")
@click.argument("arguments", nargs=-1, metavar="[KEY] [NAME=VALUE]...")
@with_device
@json_option
def edit(
    action: str,
    entity: str,
    arguments: Sequence[str],
    device: Device,
    as_json: bool,
) -> None:
    """Change one row, with or without a network; the next sync hands it over. An empty value is none.

    \b
    satchel device edit create contact lastname=Kim parentcustomerid=account:2efd...
    satchel device edit update contact 2efd... jobtitle='Chief engineer'
    satchel device edit delete task 2efd...
    """
    words = list(arguments)
    key = words.pop(0) if action != "create" and words else ""
    if action != "create" and not key:
        raise click.UsageError(f"{action} needs the row's key.")
    values = _values(device, entity, words)
    parts = _key(device, entity, key)
    with device.edit() as changes:
        if action == "create":
            key = changes.create(entity, values)
        elif action == "update":
            changes.update(entity, parts, values)
        elif values:
            raise click.UsageError("delete takes a key, and no values.")
        else:
            changes.delete(entity, parts)
    if as_json:
        print_json({"key": key, "pending": changes.number})
    elif changes.number is None:
        console.print(f"{shown(key)}  It is so already: nothing is to be sent.")
    else:
        console.print(f"{shown(key)}  (pending {changes.number})  Next: satchel device sync")


@click.command()
@with_device
@json_option
def pending(device: Device, as_json: bool) -> None:
    """What waits to be sent, is on its way, or needs a decision."""
    found = device.pending()
    if as_json:
        print_json(found)
        return
    print_rows([_row(each) for each in found], empty="Nothing is pending.")


@click.command()
@with_device
@json_option
def conflicts(device: Device, as_json: bool) -> None:
    """What came home and needs a decision, with the reason; of conflicts: before, mine and theirs."""
    found = [each for each in device.pending() if not each.state.is_in_effect]
    if as_json:
        print_json(found)
        return
    if not found:
        console.print("Nothing needs a decision.")
    for each in found:
        console.print(f"[bold]{each.number}[/bold]  {each.state}  {shown(each.note or '')}")
        outcomes = {outcome.id: outcome for _, outcome in conflicts_of(each)}
        for change in each.edits:
            _print_change(change, outcomes.get(change.id))
    if found:
        console.print("Next: satchel device resolve NUMBER NAME=mine, or retry NUMBER, or discard NUMBER")


@click.command()
@click.argument("number", type=int)
@click.argument("choices", nargs=-1, metavar="NAME=mine|theirs|:VALUE...")
@with_device
@json_option
def resolve(
    number: int,
    choices: Sequence[str],
    device: Device,
    as_json: bool,
) -> None:
    """Decide a conflict by attribute, or correct what was refused: NAME=mine, NAME=theirs, or NAME=:another value."""
    attributes = _attributes_of(device, number)
    device.resolve(number, {name: _choice(attributes.get(name), value) for name, value in map(_pair, choices)})
    _say(as_json, number, "It is sent with the next sync.")


@click.command()
@click.argument("number", type=int)
@with_device
@json_option
def retry(number: int, device: Device, as_json: bool) -> None:
    """Send once more, unchanged, what came home."""
    device.retry(number)
    _say(as_json, number, "It is sent with the next sync.")


@click.command()
@click.argument("number", type=int)
@click.option("--with-dependents", is_flag=True, help="Also later edits that stand on a row this one makes.")
@with_device
@json_option
def discard(
    number: int,
    with_dependents: bool,
    device: Device,
    as_json: bool,
) -> None:
    """Undo a pending edit; there is no way back."""
    gone = device.discard(number, with_dependents=with_dependents)
    if as_json:
        print_json({"discarded": gone})
    else:
        console.print(f"Discarded {', '.join(map(str, gone))}.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Overwrite the file.")
@with_device
def export(file: Path, force: bool, device: Device) -> None:
    """Write all pending edits to FILE (JSON), with everything that is kept of them."""
    content = msgspec.json.format(msgspec.json.encode(device.pending()), indent=2)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(file, flags, 0o600), "wb") as target:
            target.write(content)
    except OSError as error:
        raise InputInvalid(f"{file} cannot be written: {error.strerror}.", hint="--force overwrites.") from error
    console.print(f"Written to {shown(str(file))}.")


COMMANDS = (edit, pending, conflicts, resolve, retry, discard, export)


def _print_change(change: Edit, outcome: EditOutcome | None) -> None:
    """What a set does to one row, and, where the row is why it came home, what was said."""
    console.print(f"  {change.action} {change.entity} {shown(','.join(change.key))}")
    if outcome is not None and outcome.message:
        console.print(f"  {shown(outcome.message)}  {shown(outcome.code)}")
    base, theirs = change.base or {}, (outcome.theirs if outcome else None) or {}
    mine: dict[str, Any] = change.values
    if change.action is Action.DELETE and outcome is not None:
        mine = dict.fromkeys(outcome.overlap, "(deleted)")
    rows = [
        {"attribute": name, "before": _text(base.get(name)), "mine": _text(value), "theirs": _text(theirs.get(name))}
        for name, value in mine.items()
    ]
    if rows:
        print_rows(rows)


def _key(device: Device, entity: str, text: str) -> str | tuple[str, ...]:
    """Parts of a composite key are separated by commas."""
    found = device.model.entity_by_name.get(entity)
    return tuple(text.split(",")) if found is not None and len(found.key) > 1 else text


def _values(device: Device, entity: str, words: Sequence[str]) -> dict[str, Any]:
    found = device.model.entity_by_name.get(entity)
    attributes = {a.name: a for a in found.attributes} if found else {}
    return {name: _typed(attributes.get(name), text) for name, text in map(_pair, words)}


def _typed(attribute: ClientAttribute | None, text: str) -> Any:
    """A value as it was typed; a lookup's may begin with its target (`account:KEY`)."""
    if attribute is None:
        return text
    target, separator, key = text.partition(":")
    return (target, key) if separator and target in attribute.targets else parse_text(attribute, text)


def _attributes_of(device: Device, number: int) -> dict[str, ClientAttribute]:
    """What a pending set changes, by the names that a choice may use."""
    found: dict[str, ClientAttribute] = {}
    for change in (change for each in device.pending() if each.number == number for change in each.edits):
        entity = device.model.entity_by_name.get(change.entity)
        for attribute in entity.attributes if entity else ():
            found |= {attribute.name: attribute, f"{change.entity}.{attribute.name}": attribute}
    return found


def _pair(word: str) -> tuple[str, str]:
    name, separator, value = word.partition("=")
    if not separator or not name:
        raise click.UsageError(f"{word!r} is not NAME=VALUE.")
    return name, value


def _choice(attribute: ClientAttribute | None, text: str) -> Choice:
    if text in {MINE, THEIRS}:
        return Choice(side=text)
    if not text.startswith(":"):
        raise click.UsageError(f"{text!r} is neither mine nor theirs; give another value as :VALUE.")
    return Choice(value=_typed(attribute, text[1:]) if text[1:] else None)


def _row(each: PendingSet) -> dict[str, Any]:
    first = each.edits[0] if each.edits else None
    what = f"{first.action} {first.entity} {','.join(first.key)}" if first else "withdrawn"
    more = f" and {len(each.edits) - 1} more" if len(each.edits) > 1 else ""
    names = ", ".join(first.values) if first else ""
    return {
        "number": each.number, "state": each.state.value, "made": each.made_at, "what": what + more,
        "attributes": names,
    }  # fmt: skip


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _say(as_json: bool, number: int, words: str) -> None:
    if as_json:
        print_json({"number": number})
    else:
        console.print(words)
