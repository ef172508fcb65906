"""Taking edit sets of a device in: checked, bounded, durable; sending again is harmless."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from satchel.database.pool import Connection, Database
from satchel.errors import TooManyEdits
from satchel.journal.rows import key_json, touched_rows
from satchel.journal.sets import (
    Standing,
    add,
    add_rows,
    edits_of,
    known_before,
    lock_verdicts,
    replace,
    settle,
    standing,
    unsettled,
)
from satchel.model.client_model import ClientModel
from satchel.model.edits import MAX_SET_BYTES, Edit, EditSet, Outcome, Receipt, Verdict
from satchel.model.keys import MAX_KEY_CHARACTERS

MAX_UNSETTLED_BYTES = 1024**3
"""Of one device's edits; what comes beyond waits on the device."""
_UNREADABLE = "The server cannot read this edit"
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL, not the text of such an escape. A bare one is no JSON."""


class _Named(msgspec.Struct):
    id: str = ""


class Received(msgspec.Struct, frozen=True):
    """What became of a request's sets."""

    receipts: list[Receipt]
    has_work: bool
    """There is something to be played."""
    has_verdicts: bool
    """Something was withdrawn: the head moved."""


async def receive(
    staging: Database,
    sets: Sequence[msgspec.Raw],
    model: ClientModel,
    *,
    device: str,
    user_id: str,
    max_unsettled: int,
    trace: str = "",
) -> Received:
    """Put sets into the journal, in order; what has a receipt without a refusal is durable.

    One transaction for all. `model`: the organization's whole client model. Errors: TooManyEdits, StoreBusy.
    """
    decoded = [_decoded(bytes(raw)) for raw in sets]
    readable = list({each.id: each for each in decoded if isinstance(each, EditSet)}.values())
    async with staging.transaction() as connection:
        if any(not each.edits for each in readable):
            await lock_verdicts(connection)
        before = await standing(connection, [each.id for each in readable])
        new = [each for each in readable if each.id not in before]
        if new and await _is_too_much(connection, new, device, max_unsettled):
            if len(new) == len(readable):
                raise TooManyEdits
            new = []  # what frees room goes first; the device comes again with these
        again = [each for each in readable if each.id in before and _is_taken_up(each, before[each.id], device)]
        numbers = await add(connection, new, device=device, user_id=user_id, trace=trace) if new else {}
        known = {each.id: await known_before(connection, each.id, device=device) for each in again if not each.edits}
        for each in again:
            numbers[each.id] = await replace(connection, each, trace=trace)
        others = await _others(connection, readable, before)
        kept = [each for each in readable if each.id in numbers]
        rows = [(numbers[each.id], row) for each in kept for row in touched_rows(each, model)]
        if rows:
            await add_rows(connection, rows)
        withdrawn = [each for each in kept if not each.edits]
        for each in withdrawn:
            outcome = Outcome(set=each.id, version=each.version, verdict=Verdict.WITHDRAWN)
            await settle(connection, numbers[each.id], outcome, known.get(each.id))
    receipts = [
        each if isinstance(each, Receipt) else _receipt(each, before, numbers, others, device) for each in decoded
    ]
    # What was withdrawn may have held others.
    return Received(receipts, has_work=bool(kept), has_verdicts=bool(withdrawn))


async def _is_too_much(connection: Connection, new: Sequence[EditSet], device: str, max_unsettled: int) -> bool:
    count, size_bytes = await unsettled(connection, device)
    return count + len(new) > max_unsettled or size_bytes > MAX_UNSETTLED_BYTES


def _decoded(body: bytes) -> EditSet | Receipt:
    """The set, or why it cannot be one."""
    try:
        edit_set = msgspec.json.decode(body, type=EditSet)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Receipt(_id_of(body), 0, f"{_UNREADABLE}: {str(error)[:200]}.")
    for problem in _problems(edit_set, body):
        return Receipt(edit_set.id, 0, problem)
    return edit_set


def _problems(edit_set: EditSet, body: bytes) -> Iterator[str]:
    if len(body) > MAX_SET_BYTES:
        yield f"{_UNREADABLE}: it is larger than {MAX_SET_BYTES // 2**20} MiB."
    if len({(edit.entity, edit.key) for edit in edit_set.edits}) < len(edit_set.edits):
        yield "An edit set changes each row once."
    if len({edit.id for edit in edit_set.edits}) < len(edit_set.edits):
        yield "Each edit has an id of its own."
    if any(len(key_json(edit.key)) > MAX_KEY_CHARACTERS for edit in edit_set.edits):
        yield f"{_UNREADABLE}: a key is too long."
    if _NUL.search(body):
        yield f"{_UNREADABLE}: it has a character that cannot be stored (NUL)."


def _id_of(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Named).id[:100]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def _is_taken_up(edit_set: EditSet, before: Standing, device: str) -> bool:
    """A newer version of what may still be changed. What is on its way to the source is asked for again later."""
    is_free = not before.is_final and before.state != "sending"
    return is_free and before.device == device and edit_set.version > before.version


async def _others(connection: Connection, sets: Sequence[EditSet], before: Mapping[str, Standing]) -> set[str]:
    """Those of these sets that were settled in an earlier version, which set other values."""
    late = {each.id: each for each in sets if each.edits and _is_late(each, before.get(each.id))}
    settled = await edits_of(connection, list(late)) if late else {}
    return {name for name, edits in settled.items() if _said(edits) != _said(late[name].edits)}


def _is_late(edit_set: EditSet, known: Standing | None) -> bool:
    return known is not None and known.is_final and edit_set.version > known.version


def _said(edits: Sequence[Edit]) -> list[tuple[Any, ...]]:
    """What edits do, whatever they were made on."""
    return [(edit.entity, edit.key, edit.action, edit.values) for edit in edits]


def _receipt(
    edit_set: EditSet, before: dict[str, Standing], numbers: dict[str, int], others: set[str], device: str
) -> Receipt:
    if edit_set.id in numbers:
        return Receipt(edit_set.id, edit_set.version)
    known = before.get(edit_set.id)
    if known is None:
        return Receipt(edit_set.id, 0)  # put there by a request at the same moment: the next one finds it
    if known.device != device:
        return Receipt(edit_set.id, 0, "This edit is another device's.")
    is_later = edit_set.version > known.version
    if known.is_final and (is_later or known.is_forgotten):
        return Receipt(edit_set.id, known.version, verdict=known.verdict, is_other=edit_set.id in others)
    if is_later or known.is_forgotten:
        return Receipt(edit_set.id, known.version)
    digest = hashlib.md5(msgspec.json.encode(edit_set.edits), usedforsecurity=False).hexdigest()
    if edit_set.version == known.version and digest != known.digest:
        return Receipt(edit_set.id, 0, "There is another edit of this name already.")
    return Receipt(edit_set.id, known.version)
