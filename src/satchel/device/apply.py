"""Lines become rows: what stands before a cursor is one transaction with that cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from satchel.device.schema import migrate, quoted
from satchel.device.store import Store
from satchel.errors import ProtocolBroken
from satchel.model.client_model import ClientEntity, ClientModel
from satchel.protocol.messages import End, Line

RESET = "reset"


class Applied(msgspec.Struct):
    """What an answer changed."""

    rows_by_entity: dict[str, int] = {}
    rows_removed: int = 0
    checkpoint: int | None = None
    was_reset: bool = False


class Applier:
    """Applies the lines of one answer. Nothing counts before `commit` of a cursor."""

    def __init__(self, store: Store) -> None:
        """The store is changed through this object only while an answer is read."""
        self._store = store
        self._waiting: list[Line] = []
        self._model = store.model
        self._statements: dict[tuple[str, tuple[str, ...]], str] = {}
        self.applied = Applied()

    def take(self, line: Line) -> bool:
        """Take a line; True where it ends the answer."""
        if line.cursor is not None:
            self._commit(line.cursor, None)
        elif line.end is not None:
            self._commit(line.end.cursor, line.end)
            return True
        else:
            self._waiting.append(line)
        return False

    def _commit(self, cursor: str, end: End | None) -> None:
        lines, self._waiting = self._waiting, []
        model = self._model
        with self._store.transaction() as connection:
            try:
                for line in lines:
                    self._apply(connection, line)
            except apsw.SQLError as error:
                self._model = model
                raise ProtocolBroken("The server's answer does not fit the tables.") from error
            if end is not None:
                self._finish_reset(connection)
                self._store.set("checkpoint", str(end.checkpoint))
                self.applied.checkpoint = end.checkpoint
            self._store.set("cursor", cursor)

    def _apply(self, connection: apsw.Connection, line: Line) -> None:
        if line.begin is not None and line.begin.reset:
            self._store.set(RESET, "1")
            self.applied.was_reset = True
        elif line.model is not None:
            self._migrate(connection, line.model)
        elif line.put is not None and line.rows is not None and line.columns is not None:
            self._put(connection, line.put, tuple(line.columns), line.rows)
        elif line.remove is not None and line.keys is not None:
            self._remove(connection, self._entity(line.remove), line.keys)
        for name in line.wipe or ():
            connection.execute(f"delete from {quoted(self._entity(name).name)}")
            self.applied.rows_removed += connection.changes()

    def _migrate(self, connection: apsw.Connection, model: ClientModel) -> None:
        migrate(connection, self._model, model)
        self._store.set("model", msgspec.json.encode(model).decode())
        self._model = model
        self._statements.clear()

    def _put(self, connection: apsw.Connection, name: str, columns: tuple[str, ...], rows: list[list[Any]]) -> None:
        entity = self._entity(name)
        statement = self._statements.get((name, columns))
        if statement is None:
            statement = self._statements[name, columns] = _upsert(entity, columns)
        connection.executemany(statement, rows)
        if self._store.get(RESET):
            places = [columns.index(part) for part in entity.key]
            kept = ((name, _key_text([row[place] for place in places])) for row in rows)
            connection.executemany("insert or ignore into _satchel_kept values (?, ?)", kept)
        counts = self.applied.rows_by_entity
        counts[name] = counts.get(name, 0) + len(rows)

    def _remove(self, connection: apsw.Connection, entity: ClientEntity, keys: list[Any]) -> None:
        matches = " and ".join(f"{quoted(part)} = ?" for part in entity.key)
        before = connection.total_changes()
        bound = [tuple(key) if isinstance(key, list) else (key,) for key in keys]
        connection.executemany(f"delete from {quoted(entity.name)} where {matches}", bound)
        self.applied.rows_removed += connection.total_changes() - before

    def _finish_reset(self, connection: apsw.Connection) -> None:
        """Drop every row that was not put since the reset began."""
        if not self._store.get(RESET):
            return
        for entity in self._model.entities:
            key = ", ".join(quoted(part) for part in entity.key)
            connection.execute(
                f"delete from {quoted(entity.name)} where not exists"
                f" (select 1 from _satchel_kept where entity = ? and key = json_array({key}))",
                (entity.name,),
            )
            self.applied.rows_removed += connection.changes()
        connection.execute("delete from _satchel_kept")
        self._store.set(RESET, None)

    def _entity(self, name: str) -> ClientEntity:
        entity = self._model.entity_by_name.get(name)
        if entity is None:
            raise ProtocolBroken("The server sent rows of an entity that the client model does not have.", entity=name)
        return entity


def _upsert(entity: ClientEntity, columns: Sequence[str]) -> str:
    names = ", ".join(quoted(name) for name in columns)
    key = ", ".join(quoted(name) for name in entity.key)
    changed = [f"{quoted(n)} = excluded.{quoted(n)}" for n in columns if n not in entity.key]
    action = f"update set {', '.join(changed)}" if changed else "nothing"
    marks = ", ".join("?" for _ in columns)
    return f"insert into {quoted(entity.name)} ({names}) values ({marks}) on conflict ({key}) do {action}"


def _key_text(parts: list[Any]) -> str:
    """As SQLite's json_array() writes it."""
    return msgspec.json.encode(parts).decode()
