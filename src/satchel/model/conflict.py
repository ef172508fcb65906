"""Whose change counts where a device and others changed the same row. Pure.

Three rows are compared by attribute: the one the edit was made on (base), what the edit sets (mine), and the row as the
source has it (theirs). What the device's own earlier edits made of the row is no change of others (known).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from satchel.model.client_model import ClientEntity
from satchel.model.edits import Action, Edit
from satchel.model.same import same


class Policy(StrEnum):
    """What a profile says of an entity's conflicts."""

    MERGE = "merge"  # attribute by attribute; where both changed the same one, the user decides
    SERVER = "server"  # a row that others changed stays theirs
    DEVICE = "device"  # what the device sets is set
    ASK = "ask"  # a row that others changed at all: the user decides


class Course(StrEnum):
    """What is to be done with an edit."""

    WRITE = "write"
    NOTHING = "nothing"  # it is so already
    CONFLICT = "conflict"
    SUPERSEDED = "superseded"


class Decision(msgspec.Struct, frozen=True):
    """What is to be done with an edit, and why."""

    course: Course
    overlap: tuple[str, ...] = ()
    """CONFLICT: attributes that both sides changed."""
    is_merged: bool = False
    """Others changed the row too, elsewhere."""


class Known(msgspec.Struct, frozen=True):
    """A row as a device may take it for granted after an edit of its own."""

    row: Mapping[str, Any]
    written: tuple[str, ...] = ()
    """Attributes that its edits set."""


def decide(
    entity: ClientEntity,
    edit: Edit,
    theirs: Mapping[str, Any] | None,
    known: Known | None,
    *,
    stamps: Collection[str] = (),
) -> Decision:
    """What to do with an edit. `theirs`: wire values of the client model's attributes; None: the row is not there.
    `stamps`: attributes that only the source sets."""
    if edit.action is Action.CREATE:
        # Only this edit knows the key: a row that is there and is the same was made by it.
        is_done = theirs is not None and not _differing(entity, edit.values, theirs)
        return Decision(Course.NOTHING if is_done else Course.WRITE)
    if theirs is None:
        return Decision(Course.NOTHING if edit.action is Action.DELETE else Course.WRITE)
    mine = _differing(entity, edit.values, theirs)
    if edit.action is Action.UPDATE and not mine:
        return Decision(Course.NOTHING)
    changed = changed_by_others(entity, edit, theirs, known, stamps)
    policy = Policy(entity.conflicts)
    if policy is Policy.DEVICE or not changed:
        return Decision(Course.WRITE)
    if policy is Policy.SERVER:
        return Decision(Course.SUPERSEDED)
    overlap = changed & mine if edit.action is Action.UPDATE else changed
    if overlap or policy is Policy.ASK:
        return Decision(Course.CONFLICT, tuple(sorted(overlap or mine)))
    return Decision(Course.WRITE, is_merged=True)


def changed_by_others(
    entity: ClientEntity, edit: Edit, theirs: Mapping[str, Any], known: Known | None, stamps: Collection[str]
) -> set[str]:
    """The attributes that others changed since the edit was made; where nothing is known of the row then, all.

    A stamp, such as when the row was last changed, says only that somebody wrote the row, and the device's own writes
    move it too; it does not count by itself.
    """
    written = set(known.written) if known else set()
    changed: set[str] = set()
    for attribute in entity.attributes:
        name = attribute.name
        if name in stamps:
            continue
        value = theirs.get(name)
        taken = [known.row.get(name)] if known and name in known.row else []
        if edit.base is not None and name in edit.base and name not in written:
            taken.append(edit.base[name])
        is_told = known is not None or edit.base is not None
        if not any(same(attribute.type, value, each) for each in taken) and (taken or not is_told):
            changed.add(name)
    return changed


def known_after(
    entity: ClientEntity,
    edit: Edit,
    theirs: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    known: Known | None,
    *,
    was_told: bool = True,
    stamps: Collection[str] = (),
) -> Known:
    """What the device may take for granted once the edit was executed: `theirs` became `after`.

    What others changed meanwhile stays as the user last saw it, so that a later edit of the same attribute still meets
    their change. So it is with what others made of the edit's own attributes where the source's answer to the write
    was not told: the row was read later.
    """
    if after is None:
        return Known({}, ())
    kept = dict(after)
    if theirs is not None and edit.action is not Action.CREATE:
        seen = {**(edit.base or {}), **(known.row if known else {})}
        for name in changed_by_others(entity, edit, theirs, known, stamps) - edit.values.keys():
            if name in seen:
                kept[name] = seen[name]
            else:
                kept.pop(name, None)
    if not was_told:
        kept |= {name: edit.values[name] for name in _differing(entity, edit.values, after)}
    return Known(kept, tuple(sorted({*(known.written if known else ()), *edit.values})))


def _differing(entity: ClientEntity, values: Mapping[str, Any], row: Mapping[str, Any]) -> set[str]:
    kinds = {attribute.name: attribute.type for attribute in entity.attributes}
    return {name for name, value in _items(values, kinds) if not same(kinds[name], value, row.get(name))}


def _items(values: Mapping[str, Any], known: Iterable[str]) -> list[tuple[str, Any]]:
    names = set(known)
    return [(name, value) for name, value in values.items() if name in names]
