"""Edited rows: what the server told of each (its image) with the pending edits on top is what the tables show.

One object for one transaction: it notes which edited rows the transaction touches, and makes them anew at its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apsw
import msgspec

from satchel.device.edits import outbox
from satchel.device.edits.outbox import PendingSet, RowKey, SetState, row_key
from satchel.device.schema import make_key, upsert
from satchel.model.client_model import ClientEntity, ClientModel
from satchel.model.edits import Action, Edit, Outcome
from satchel.model.keys import key_values
from satchel.model.validation import problems
from satchel.protocol.images import key_matches, quoted

_LEFT = "Its row is no longer among yours: it was deleted, or is not yours to work with any more."
_encode = msgspec.json.Encoder().encode
_decode_edit = msgspec.json.Decoder(Edit).decode


class Overlay:
    """The edited rows in one transaction."""

    def __init__(self, connection: apsw.Connection, model: ClientModel) -> None:
        """Cost: one query over the outbox."""
        self._connection = connection
        self._model = model
        self._edited = outbox.edited_rows(connection)
        self._touched: set[RowKey] = set()

    def touch(self, edits: Iterable[Edit]) -> None:
        """The edits of these rows changed."""
        self._touched.update(row_key(edit.entity, edit.key) for edit in edits)

    def visible(self, outcome: Outcome, edits: Iterable[Edit]) -> Outcome:
        """The outcome, of other people's rows only with what the user may have now."""
        for edit in edits:
            entity = self._model.entity_by_name.get(edit.entity)
            known = {attribute.name for attribute in entity.attributes} if entity else set()
            outcome = _theirs_only(outcome, {edit.id}, known)
        return outcome

    def edited_keys(self, entity: str) -> list[tuple[str, ...]]:
        """The keys of the edited rows of an entity."""
        return [tuple(msgspec.json.decode(key, type=list[str])) for key in self._edited.get(entity, ())]

    def put(self, entity: ClientEntity, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """The server told these rows, in the wire form."""
        edited = self._edited.get(entity.name)
        if not edited:
            return
        places = [columns.index(name) for name in entity.key]
        for row in rows:
            key = _encode([str(row[place]) for place in places]).decode()
            if key in edited:
                self._keep((entity.name, key), dict(zip(columns, row, strict=True)))

    def remove(self, entity: str, keys: Iterable[Sequence[Any]]) -> None:
        """The server took these rows away."""
        edited = self._edited.get(entity)
        for parts in keys if edited else ():
            key = _encode([str(part) for part in parts]).decode()
            if edited and key in edited:
                self._forget((entity, key))

    def wipe(self, entity: str) -> None:
        """The server took all rows of an entity away."""
        for key in self._edited.get(entity, ()):
            self._forget((entity, key))

    def begin_reset(self) -> None:
        """From here on everything comes again."""
        mark_images_stale(self._connection)
        outbox.send_again(self._connection)

    def finish_reset(self) -> None:
        """What did not come again is no longer there."""
        self._connection.execute("delete from _satchel_image where is_stale")
        self._touched.update((entity, key) for entity, keys in self._edited.items() for key in keys)

    def change_model(self, model: ClientModel, rebuilt: Iterable[str]) -> None:
        """The tables follow another client model now; those in `rebuilt` are empty.

        What is kept of rows loses the attributes that may no longer be kept; sets that no longer fit are quarantined.
        """
        gone = self._model.entity_by_name.keys() - model.entity_by_name.keys()
        self._model = model
        for entity in {*rebuilt, *gone}:
            self.wipe(entity)
        for name in self._edited:
            self._strip_attributes(name)
        for pending in list(outbox.all_sets(self._connection)):
            problem = self._misfit(pending) if pending.state is SetState.WAITING else None
            if problem:
                self._quarantine(pending, problem)

    def finish(self, *, is_complete: bool) -> None:
        """Make the touched rows anew. Where the copy is complete now, edits of rows that are not there are settled:
        nothing of such a row is kept but what the user entered."""
        if is_complete:
            self._settle_lost()
        for entity, key in self._touched:
            self._rebuild(entity, key)
        if self._touched:
            self._connection.execute(
                "delete from _satchel_image where not exists (select 1 from _satchel_edit e"
                " where e.entity = _satchel_image.entity and e.key = _satchel_image.key)"
            )
        self._touched.clear()

    def _keep(self, row: RowKey, values: dict[str, Any]) -> None:
        write_image(self._connection, row, values)
        self._touched.add(row)

    def _forget(self, row: RowKey) -> None:
        self._connection.execute("delete from _satchel_image where entity = ? and key = ?", row)
        self._touched.add(row)

    def _rebuild(self, entity_name: str, key: str) -> None:
        entity = self._model.entity_by_name.get(entity_name)
        if entity is None:
            return
        row = read_image(self._connection, (entity_name, key))
        for edit in _edits_in_effect(self._connection, (entity_name, key)):
            row = apply(entity, row, edit)
        if row is None:
            delete_row(self._connection, entity, tuple(msgspec.json.decode(key, type=list[str])))
        else:
            write_row(self._connection, entity, row)

    def _settle_lost(self) -> None:
        lost = self._connection.execute(
            "select e.set_number, e.content from _satchel_edit e where not exists"
            " (select 1 from _satchel_image i where i.entity = e.entity and i.key = e.key)"
        ).fetchall()
        edits = [(int(str(number)), _decode_edit(str(content))) for number, content in lost]
        made = {row_key(edit.entity, edit.key) for _, edit in edits if edit.action is Action.CREATE}
        for number in sorted({number for number, _ in edits}):
            pending = outbox.find(self._connection, number)
            if pending is None:
                continue
            lost_edits = [edit for edit in pending.edits if not self._is_there(edit)]
            ids = {edit.id for edit in lost_edits}
            kept = [msgspec.structs.replace(e, base=None) if e.id in ids else e for e in pending.edits]
            if kept != list(pending.edits):
                outbox.rewrite(self._connection, pending, kept)
            is_left = any(row_key(edit.entity, edit.key) not in made for edit in lost_edits)
            if pending.state is SetState.WAITING and is_left:
                self._quarantine(pending, _LEFT)
            elif pending.outcome is not None:
                self._move(pending, pending.state, _without_theirs(pending.outcome, ids))

    def _is_there(self, edit: Edit) -> bool:
        return read_image(self._connection, row_key(edit.entity, edit.key)) is not None

    def _strip_attributes(self, name: str) -> None:
        """Of an entity's rows, keep only attributes that the user may have."""
        entity = self._model.entity_by_name.get(name)
        known = {a.name for a in entity.attributes} if entity else set()
        connection = self._connection
        for key in self._edited.get(name, ()):
            image = read_image(connection, (name, key))
            if image is not None and not image.keys() <= known:
                write_image(connection, (name, key), {n: v for n, v in image.items() if n in known}, keeps_age=True)
            for pending in outbox.of_row(connection, (name, key)):
                kept = [_only(edit, name, known) for edit in pending.edits]
                if kept != list(pending.edits):
                    outbox.rewrite(connection, pending, kept)
                if pending.outcome is not None:
                    ids = {edit.id for edit in pending.edits if edit.entity == name}
                    self._move(pending, pending.state, _theirs_only(pending.outcome, ids, known))

    def _misfit(self, pending: PendingSet) -> str | None:
        for edit in pending.edits:
            entity = self._model.entity_by_name.get(edit.entity)
            if entity is None:
                return f"{edit.entity} is no longer offered on this device."
            for problem in problems(entity, edit.action, edit.values):
                where = f"{edit.entity}.{problem.attribute}" if problem.attribute else edit.entity
                return f"It no longer fits the data's model: {where}: {problem.message}."
        return None

    def _quarantine(self, pending: PendingSet, note: str) -> None:
        outbox.hand_on(self._connection, pending)
        outbox.move(self._connection, pending.number, SetState.QUARANTINED, note=note)
        self.touch(pending.edits)

    def _move(self, pending: PendingSet, state: SetState, outcome: Outcome) -> None:
        if outcome != pending.outcome:
            outbox.move(self._connection, pending.number, state, outcome=outcome, note=pending.note)


def apply(entity: ClientEntity, row: dict[str, Any] | None, edit: Edit) -> dict[str, Any] | None:
    """A row with an edit on top; None: there is no such row."""
    if edit.action is Action.DELETE:
        return None
    if edit.action is Action.CREATE:
        empty = {attribute.name: None for attribute in entity.attributes}
        return (row or {**empty, **key_values(entity, edit.key)}) | edit.values
    return None if row is None else row | edit.values


def write_row(connection: apsw.Connection, entity: ClientEntity, row: dict[str, Any]) -> None:
    """Put a row, in the wire form, into its table."""
    make_key(connection, entity)
    names = [attribute.name for attribute in entity.attributes]
    connection.execute(upsert(entity, names), [row.get(name) for name in names])


def delete_row(connection: apsw.Connection, entity: ClientEntity, key: tuple[str, ...]) -> None:
    """Take a row out of its table."""
    make_key(connection, entity)
    values = key_values(entity, key)
    connection.execute(
        f"delete from {quoted(entity.name)} where {key_matches(entity)}", [values[name] for name in entity.key]
    )


def read_image(connection: apsw.Connection, row: RowKey) -> dict[str, Any] | None:
    """A row as the server told it, in the wire form; None: it is none of the server's."""
    for (content,) in connection.execute("select content from _satchel_image where entity = ? and key = ?", row):
        image: dict[str, Any] = msgspec.json.decode(str(content))
        return image
    return None


def write_image(connection: apsw.Connection, row: RowKey, values: dict[str, Any], *, keeps_age: bool = False) -> None:
    """Keep a row as the server told it."""
    age = "_satchel_image.is_stale" if keeps_age else "0"
    connection.execute(
        "insert into _satchel_image (entity, key, content) values (?, ?, ?)"
        f" on conflict (entity, key) do update set content = excluded.content, is_stale = {age}",
        (*row, _encode(values).decode()),
    )


def mark_image_stale(connection: apsw.Connection, row: RowKey) -> None:
    """The row is still to be told again by the reset that is under way."""
    connection.execute("update _satchel_image set is_stale = 1 where entity = ? and key = ?", row)


def mark_images_stale(connection: apsw.Connection) -> None:
    """Everything is told again from here on."""
    connection.execute("update _satchel_image set is_stale = 1")


def _edits_in_effect(connection: apsw.Connection, row: RowKey) -> list[Edit]:
    found = connection.execute(
        "select e.content from _satchel_edit e join _satchel_set s on s.number = e.set_number"
        " where e.entity = ? and e.key = ? and s.state in ('waiting', 'sent') order by s.number, e.number",
        row,
    )
    return [_decode_edit(str(content)) for (content,) in found]


def _only(edit: Edit, entity: str, known: set[str]) -> Edit:
    if edit.entity != entity or edit.base is None or edit.base.keys() <= known:
        return edit
    return msgspec.structs.replace(edit, base={n: v for n, v in edit.base.items() if n in known})


def _without_theirs(outcome: Outcome, ids: set[str]) -> Outcome:
    edits = tuple(msgspec.structs.replace(e, theirs=None) if e.id in ids else e for e in outcome.edits)
    return msgspec.structs.replace(outcome, edits=edits)


def _theirs_only(outcome: Outcome, ids: set[str], known: set[str]) -> Outcome:
    edits = tuple(
        msgspec.structs.replace(e, theirs={n: v for n, v in e.theirs.items() if n in known})
        if e.id in ids and e.theirs is not None
        else e
        for e in outcome.edits
    )
    return msgspec.structs.replace(outcome, edits=edits)
