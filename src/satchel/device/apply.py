"""Lines become rows: what stands before a cursor is one transaction with that cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import apsw
import msgspec

from satchel.device.lease import SYSTEM_CLOCK, Clock, renew_lease
from satchel.device.schema import migrate, quoted, stored
from satchel.device.store import Store, readable_failures
from satchel.errors import ProtocolBroken
from satchel.model.client_model import ClientEntity, ClientModel
from satchel.protocol.messages import Begin, End, Line

RESET = "reset"
_MISFITS = (
    apsw.SQLError, apsw.ConstraintError, apsw.BindingsError, apsw.MismatchError, apsw.RangeError, apsw.TooBigError,
    TypeError, ValueError, OverflowError,
)  # fmt: skip


class Applied(msgspec.Struct):
    """What an answer changed."""

    rows_by_entity: dict[str, int] = {}
    rows_removed: int = 0
    checkpoint: int | None = None
    was_reset: bool = False

    def add(self, more: Applied) -> None:
        """Count what another transaction changed."""
        for entity, rows in more.rows_by_entity.items():
            self.rows_by_entity[entity] = self.rows_by_entity.get(entity, 0) + rows
        self.rows_removed += more.rows_removed
        self.checkpoint = self.checkpoint if more.checkpoint is None else more.checkpoint
        self.was_reset = self.was_reset or more.was_reset


class Applier:
    """Applies the lines of one answer as they come, so that memory does not grow with what stands between cursors.

    Order: one transaction from one cursor to the next. What no cursor confirmed goes away when this is left.
    """

    def __init__(self, store: Store, clock: Clock = SYSTEM_CLOCK) -> None:
        """The store is changed through this object only while an answer is read."""
        self._store = store
        self._clock = clock
        self._model = store.model
        self._statements: dict[tuple[str, tuple[str, ...]], str] = {}
        self._changes = Applied()
        self.applied = Applied()
        """What was committed."""

    def __enter__(self) -> Self:
        """Nothing is changed before the first line."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what came after the last cursor."""
        self._store.rollback()

    def take(self, line: Line) -> bool:
        """Take a line; True where it ends the answer. Errors: ProtocolBroken, as `readable_failures`."""
        with readable_failures():
            connection = self._store.begin()
            if line.cursor is not None:
                self._commit(connection, line.cursor, None)
            elif line.end is not None:
                self._commit(connection, line.end.cursor, line.end)
            else:
                try:
                    self._apply(connection, line)
                except _MISFITS as error:
                    raise ProtocolBroken("The server's answer does not fit the tables.") from error
        return line.end is not None

    def _commit(self, connection: apsw.Connection, cursor: str, end: End | None) -> None:
        if end is not None:
            self._finish_reset(connection)
            self._store.set("checkpoint", str(end.checkpoint))
            self._changes.checkpoint = end.checkpoint
        self._store.set("cursor", cursor)
        connection.execute("commit")
        self.applied.add(self._changes)
        self._changes = Applied()

    def _apply(self, connection: apsw.Connection, line: Line) -> None:
        if line.begin is not None:
            self._begin(connection, line.begin)
        elif line.model is not None:
            self._migrate(connection, line.model)
        elif line.put is not None and line.rows is not None and line.columns is not None:
            self._put(connection, line.put, tuple(line.columns), line.rows)
        elif line.remove is not None and line.keys is not None:
            self._remove(connection, line.remove, line.keys)
        for name in line.wipe or ():
            self._wipe(connection, name)

    def _begin(self, connection: apsw.Connection, begin: Begin) -> None:
        renew_lease(self._store, None if begin.lease is msgspec.UNSET else begin.lease, self._clock.now())
        if begin.reset:
            connection.execute("delete from _satchel_seen")  # of a reset that this one begins over
            self._store.set(RESET, "1")
            self._changes.was_reset = True

    def _migrate(self, connection: apsw.Connection, model: ClientModel) -> None:
        migrate(connection, self._model, model)
        self._store.set("model", msgspec.json.encode(model).decode())
        self._model = model
        self._statements.clear()

    def _put(self, connection: apsw.Connection, name: str, columns: tuple[str, ...], rows: list[list[Any]]) -> None:
        entity = self._model.entity_by_name.get(name)
        if entity is None:
            raise ProtocolBroken("The server sent rows of an entity that the client model does not have.", entity=name)
        statement = self._statements.get((name, columns))
        if statement is None:
            statement = self._statements[name, columns] = _upsert(entity, columns)
        connection.executemany(statement, rows)
        if self._store.get(RESET):
            self._note_seen(connection, entity, columns, rows)
        counts = self._changes.rows_by_entity
        counts[name] = counts.get(name, 0) + len(rows)

    def _note_seen(
        self, connection: apsw.Connection, entity: ClientEntity, columns: Sequence[str], rows: list[list[Any]]
    ) -> None:
        """Remember across answers what a reset put. A row made anew in the place of a removed one was put as well."""
        places = [columns.index(part) for part in entity.key]
        seen = ((*(row[place] for place in places), entity.name) for row in rows)
        connection.executemany(
            f"insert or ignore into _satchel_seen select ?{len(places) + 1}, _rowid_"
            f" from {quoted(entity.name)} where {_matches(entity)}",
            seen,
        )

    def _remove(self, connection: apsw.Connection, name: str, keys: list[Any]) -> None:
        """What is not there needs no removing: neither a row nor an entity."""
        entity = self._model.entity_by_name.get(name)
        if entity is None:
            return
        before = connection.total_changes()
        bound = [tuple(key) if isinstance(key, list) else (key,) for key in keys]
        connection.executemany(f"delete from {quoted(name)} where {_matches(entity)}", bound)
        self._changes.rows_removed += connection.total_changes() - before

    def _wipe(self, connection: apsw.Connection, name: str) -> None:
        if name in self._model.entity_by_name:
            connection.execute(f"delete from {quoted(name)}")
            self._changes.rows_removed += connection.changes()

    def _finish_reset(self, connection: apsw.Connection) -> None:
        """Drop every row that was not put since the reset began."""
        if not self._store.get(RESET):
            return
        for entity in self._model.entities:
            connection.execute(
                f"delete from {quoted(entity.name)} where _rowid_ not in"
                " (select row from _satchel_seen where entity = ?)",
                (entity.name,),
            )
            self._changes.rows_removed += connection.changes()
        connection.execute("delete from _satchel_seen")
        self._store.set(RESET, None)


def _upsert(entity: ClientEntity, columns: Sequence[str]) -> str:
    names = ", ".join(quoted(name) for name in columns)
    key = ", ".join(quoted(name) for name in entity.key)
    changed = [f"{quoted(n)} = excluded.{quoted(n)}" for n in columns if n not in entity.key]
    action = f"update set {', '.join(changed)}" if changed else "nothing"
    attributes = {a.name: a for a in entity.attributes}
    if not attributes.keys() >= set(columns) >= set(entity.key):
        raise ProtocolBroken("The server sent columns that do not fit the client model.", entity=entity.name)
    values = ", ".join(stored(attributes[name], place) for place, name in enumerate(columns, 1))
    return f"insert into {quoted(entity.name)} ({names}) values ({values}) on conflict ({key}) do {action}"


def _matches(entity: ClientEntity) -> str:
    attributes = {a.name: a for a in entity.attributes}
    return " and ".join(f"{quoted(name)} = {stored(attributes[name], at)}" for at, name in enumerate(entity.key, 1))
