"""Changing rows on the device: each transaction becomes one edit set, checked at once and shown at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID

import apsw
import msgspec

from satchel.device.edits import outbox
from satchel.device.edits.identifiers import new_id
from satchel.device.edits.outbox import RowKey, row_key
from satchel.device.edits.overlay import delete_row, mark_image_stale, read_image, write_image, write_row
from satchel.device.edits.wire import parse_text, stored_row, to_wire
from satchel.device.schema import make_key
from satchel.errors import EditInvalid
from satchel.model.client_model import ClientAttribute, ClientEntity, ClientModel
from satchel.model.edits import MAX_EDITS_IN_A_SET, MAX_SET_BYTES, Action, Edit, EditSet
from satchel.model.keys import key_problem, key_values
from satchel.model.metadata import AttributeType
from satchel.model.same import same
from satchel.model.validation import problems
from satchel.protocol.images import key_matches, quoted

RowId = str | UUID | int | tuple[Any, ...]
"""A row's key: its value, or a tuple of values where the key is composite."""


class _Change(msgspec.Struct):
    """What this transaction does to one row."""

    entity: ClientEntity
    key: tuple[str, ...]
    action: Action
    values: dict[str, Any]
    base: dict[str, Any] | None


class Changes:
    """One local transaction: what is changed through it happens together, here and at the source."""

    def __init__(self, connection: apsw.Connection, model: ClientModel) -> None:
        """The caller's transaction is the one that counts."""
        self._connection = connection
        self._model = model
        self._changes: dict[RowKey, _Change] = {}
        self.number: int | None = None
        """Of the pending set that it has become; None: not yet, or nothing was changed."""

    def create(self, entity: str, values: Mapping[str, Any] | None = None, /, **more: Any) -> str:
        """Make a row; returns its key. Without one given, a GUID is made.

        A lookup takes the key of the row it refers to, also of one made just now; where it may refer to several
        entities, a pair: `("account", key)`. Errors: EditInvalid.
        """
        kind = self._entity(entity)
        given = {**(values or {}), **more}
        key = self._new_key(kind, given)
        wire = self.wire(kind, {n: v for n, v in given.items() if n not in kind.key})
        row = row_key(entity, key)
        if row in self._changes or self._read(kind, key) is not None or read_image(self._connection, row) is not None:
            raise EditInvalid(f"There is a row {_shown(key)} of {entity} already.")
        self._check(kind, Action.CREATE, wire)
        self._changes[row] = _Change(kind, key, Action.CREATE, wire, None)
        write_row(self._connection, kind, {**key_values(kind, key), **wire})
        return key[0] if len(key) == 1 else _shown(key)

    def update(self, entity: str, key: RowId, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Change attributes of a row; what has the value already stays out. Errors: EditInvalid."""
        kind = self._entity(entity)
        parts = self._key(kind, key)
        current = self._require(kind, parts)
        wire = self.wire(kind, {**(values or {}), **more})
        if not wire:
            raise EditInvalid("Nothing is to be changed.", hint="Give at least one attribute and its value.")
        self._check(kind, Action.UPDATE, wire)
        wire = _differing(kind, current, wire)
        row = row_key(entity, parts)
        before = self._changes.get(row)
        if not wire:
            return
        if before is not None:
            merged = before.values | wire
            self._check(kind, before.action, merged)
            before.values = merged
        else:
            self._changes[row] = _Change(kind, parts, Action.UPDATE, wire, self._base(kind, row, current))
        write_row(self._connection, kind, current | wire)

    def delete(self, entity: str, key: RowId) -> None:
        """Delete a row. Errors: EditInvalid."""
        kind = self._entity(entity)
        parts = self._key(kind, key)
        current = self._require(kind, parts)
        self._check(kind, Action.DELETE, {})
        row = row_key(entity, parts)
        before = self._changes.pop(row, None)
        if before is None or before.action is not Action.CREATE:
            base = before.base if before is not None else self._base(kind, row, current)
            self._changes[row] = _Change(kind, parts, Action.DELETE, {}, base)
        delete_row(self._connection, kind, parts)

    def keep(self) -> int | None:
        """Put what was done into the outbox; returns the set's number, None where nothing was. Errors: EditInvalid."""
        if not self._changes:
            return None
        edits = tuple(
            Edit(
                id=new_id(),
                entity=change.entity.name,
                key=change.key,
                action=change.action,
                values=change.values,
                base=change.base,
                after=outbox.last_in_effect(self._connection, row),
            )
            for row, change in self._in_order().items()
        )
        if len(edits) > MAX_EDITS_IN_A_SET:
            raise EditInvalid(
                f"{len(edits):,} rows are too many for one transaction.",
                hint=f"Change at most {MAX_EDITS_IN_A_SET} rows in one.",
            )
        made_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        edit_set = EditSet(id=new_id(), made_at=made_at, edits=edits)
        if len(msgspec.json.encode(edit_set)) > MAX_SET_BYTES:
            raise EditInvalid(
                "This is more than one transaction can carry.", hint=f"It takes {MAX_SET_BYTES // 2**20} MiB."
            )
        self.number = outbox.add(self._connection, edit_set)
        return self.number

    def wire(self, entity: ClientEntity, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values in the wire form; a lookup with the attribute that names its target. Errors: EditInvalid."""
        attributes = {a.name: a for a in entity.attributes}
        wire: dict[str, Any] = {}
        for name, value in given.items():
            attribute = attributes.get(name)
            if attribute is None:
                near = difflib.get_close_matches(name, attributes, n=2, cutoff=0.5)
                hint = f"Did you mean {' or '.join(near)}?" if near else f"It has {', '.join(attributes)}."
                raise EditInvalid(f"{entity.name} has no attribute {name!r}.", hint=hint)
            wire |= self._lookup(attribute, value) if attribute.targets else {name: to_wire(attribute, value)}
        return wire

    def _in_order(self) -> dict[RowKey, _Change]:
        """As they were made, but a new row before what refers to it: the source takes them one by one."""
        new = {
            (change.entity.name, change.key[0]): row
            for row, change in self._changes.items()
            if change.action is Action.CREATE and len(change.key) == 1
        }
        found: dict[RowKey, _Change] = {}
        for first in self._changes:
            path = [first]
            begun = {first}
            while path:
                change = self._changes[path[-1]]
                needed = [row for row in _referred(change, new) if row not in found and row not in begun]
                if needed:
                    path.append(needed[0])
                    begun.add(needed[0])
                else:
                    found.setdefault(path.pop(), change)
        return found

    def _was_seen(self, entity: ClientEntity, row: RowKey) -> bool:
        """The row was told in the reset that is under way, or there is none."""
        if not self._connection.execute("select 1 from _satchel_state where name = 'reset'").fetchall():
            return True
        values = key_values(entity, tuple(msgspec.json.decode(row[1], type=list[str])))
        place = len(entity.key) + 1
        found = self._connection.execute(
            f"select 1 from {quoted(entity.name)} t join _satchel_seen s on s.row = t._rowid_ and s.entity = ?{place}"
            f" where {key_matches(entity)}",
            [*(values[name] for name in entity.key), entity.name],
        )
        return bool(found.fetchall())

    def _entity(self, name: str) -> ClientEntity:
        found = self._model.entity_by_name.get(name)
        if found is None:
            known = ", ".join(sorted(self._model.entity_by_name)) or "none yet: sync first"
            raise EditInvalid(f"This device has no entity {name!r}.", hint=f"It has {known}.")
        make_key(self._connection, found)
        return found

    def _new_key(self, entity: ClientEntity, given: Mapping[str, Any]) -> tuple[str, ...]:
        named = [name for name in entity.key if given.get(name) is not None]
        attributes = {a.name: a for a in entity.attributes}
        if not named and len(entity.key) == 1 and attributes[entity.key[0]].type is AttributeType.GUID:
            return (new_id(),)
        if len(named) != len(entity.key):
            raise EditInvalid(f"A new row of {entity.name} needs its key: {', '.join(entity.key)}.")
        return self._key(entity, tuple(given[name] for name in entity.key))

    def _key(self, entity: ClientEntity, key: RowId) -> tuple[str, ...]:
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) != len(entity.key):
            raise EditInvalid(f"The key of {entity.name} is {', '.join(entity.key)}.")
        attributes = {a.name: a for a in entity.attributes}
        found = tuple(_key_text(attributes[name], part) for name, part in zip(entity.key, parts, strict=True))
        problem = key_problem(entity, found)
        if problem is not None:
            _refuse(entity, problem.attribute, problem.message)
        return found

    def _lookup(self, attribute: ClientAttribute, value: Any) -> dict[str, Any]:
        """A lookup, with the attribute that names its target where there are several."""
        target = None
        if isinstance(value, tuple) and len(value) == 2:
            target, value = value
        key = to_wire(attribute, value)
        if target is not None and target not in attribute.targets:
            raise EditInvalid(f"{attribute.name} refers to {' or '.join(attribute.targets)}, not to {target}.")
        if attribute.type_attribute is None:
            return {attribute.name: key}
        if key is None:
            return {attribute.name: None, attribute.type_attribute: None}
        if target is None:
            target = self._target_of(attribute, key)
        return {attribute.name: key, attribute.type_attribute: target}

    def _target_of(self, attribute: ClientAttribute, key: Any) -> str:
        """Which entity a bare key is of, where only one row on this device has it."""
        kinds = [self._model.entity_by_name[name] for name in attribute.targets if name in self._model.entity_by_name]
        found = [kind.name for kind in kinds if len(kind.key) == 1 and self._read(kind, (str(key),)) is not None]
        if len(found) != 1:
            raise EditInvalid(
                f"{attribute.name} may refer to {' or '.join(attribute.targets)}.",
                hint=f"Give both: {attribute.name}=({attribute.targets[0]!r}, key).",
            )
        return found[0]

    def _check(self, entity: ClientEntity, action: Action, wire: Mapping[str, Any]) -> None:
        for problem in problems(entity, action, wire):
            _refuse(entity, problem.attribute, problem.message)

    def _read(self, entity: ClientEntity, key: tuple[str, ...]) -> dict[str, Any] | None:
        names = ", ".join(quoted(a.name) for a in entity.attributes)
        values = key_values(entity, key)
        query = f"select {names} from {quoted(entity.name)} where {key_matches(entity)}"
        for row in self._connection.execute(query, [values[name] for name in entity.key]):
            return stored_row(entity, row)
        return None

    def _require(self, entity: ClientEntity, key: tuple[str, ...]) -> dict[str, Any]:
        row = self._read(entity, key)
        if row is None:
            raise EditInvalid(f"There is no row {_shown(key)} of {entity.name} on this device.")
        return row

    def _base(self, kind: ClientEntity, row: RowKey, current: dict[str, Any]) -> dict[str, Any] | None:
        """The row as the server told it; None where it was made here and the server has not told it yet."""
        image = read_image(self._connection, row)
        if image is not None or outbox.has_row(self._connection, row):
            return image
        write_image(self._connection, row, current)
        if not self._was_seen(kind, row):
            mark_image_stale(self._connection, row)
        return current


def _referred(change: _Change, new: Mapping[tuple[str, str], RowKey]) -> list[RowKey]:
    """The new rows that a changed row refers to."""
    lookups = [(target, a) for a in change.entity.attributes for target in a.targets]
    named = [(target, str(change.values[a.name])) for target, a in lookups if change.values.get(a.name) is not None]
    return [new[each] for each in named if each in new]


def _differing(entity: ClientEntity, current: Mapping[str, Any], wire: dict[str, Any]) -> dict[str, Any]:
    """What is not so already. A lookup and the attribute that names its target go together."""
    kinds = {a.name: a for a in entity.attributes}
    changed = {name for name, value in wire.items() if not same(kinds[name].type, current.get(name), value)}
    for attribute in entity.attributes:
        pair = {attribute.name, attribute.type_attribute or attribute.name}
        if pair & changed:
            changed |= pair & wire.keys()
    return {name: value for name, value in wire.items() if name in changed}


def _key_text(attribute: ClientAttribute, part: Any) -> str:
    """A part as its value is written: a number typed as `01` is meant as 1."""
    wire = parse_text(attribute, part) if isinstance(part, str) else to_wire(attribute, part)
    return str(wire)


def _shown(key: tuple[str, ...]) -> str:
    return ", ".join(key)


def _refuse(entity: ClientEntity, attribute: str, message: str) -> NoReturn:
    where = f"{entity.name}.{attribute}" if attribute else entity.name
    raise EditInvalid(f"{where}: {message}.")
