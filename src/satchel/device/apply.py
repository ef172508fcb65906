"""Lines become rows: what stands before a cursor is one transaction with that cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import apsw
import msgspec

from satchel.device.edits.overlay import Overlay
from satchel.device.edits.verdicts import settle
from satchel.device.lease import SYSTEM_CLOCK, Clock, renew_lease
from satchel.device.load import attach, detach, load_image, place
from satchel.device.schema import make_indexes, make_key, migrate, upsert
from satchel.device.store import Store, readable_failures
from satchel.errors import ProtocolBroken
from satchel.model.client_model import ClientEntity, ClientModel
from satchel.model.edits import Outcome
from satchel.protocol.images import key_matches, quoted
from satchel.protocol.messages import Begin, End, Line

RESET = "reset"
ROWS_HELD = 50_000
_MISFITS = (
    apsw.SQLError, apsw.ConstraintError, apsw.BindingsError, apsw.MismatchError, apsw.RangeError, apsw.TooBigError,
    TypeError, ValueError, OverflowError,
)  # fmt: skip


class Applied(msgspec.Struct):
    """What an answer changed."""

    rows_by_entity: dict[str, int] = {}
    rows_removed: int = 0
    verdicts: dict[str, int] = {}
    """Edit sets that the server settled, by verdict."""
    checkpoint: int | None = None
    was_reset: bool = False

    def add(self, more: Applied) -> None:
        """Count what another transaction changed."""
        for own, others in ((self.rows_by_entity, more.rows_by_entity), (self.verdicts, more.verdicts)):
            for name, count in others.items():
                own[name] = own.get(name, 0) + count
        self.rows_removed += more.rows_removed
        self.checkpoint = self.checkpoint if more.checkpoint is None else more.checkpoint
        self.was_reset = self.was_reset or more.was_reset


class Applier:
    """Applies the lines of one answer, as many as stand before a cursor in one transaction with it.

    Lines wait in memory for their cursor, so that the database is locked for others only while they are written;
    beyond `ROWS_HELD` rows they are written as they come, so that memory does not grow with what stands between
    cursors. What no cursor confirmed goes away when this is left.
    """

    def __init__(self, store: Store, clock: Clock = SYSTEM_CLOCK) -> None:
        """The store is changed through this object only while an answer is read."""
        self._store = store
        self._clock = clock
        self._model = store.model
        self._statements: dict[tuple[str, tuple[str, ...]], str] = {}
        self._held: list[Line] = []
        self._rows_held = 0
        self._overlay: Overlay | None = None
        self._placed: Line | None = None
        """The line whose image is in its place."""
        self._has_loaded = False
        """A first load came to its end: the log is as large as it gets."""
        self._changes = Applied()
        self._applied = Applied()

    def __enter__(self) -> Self:
        """Nothing is changed before the first line."""
        with readable_failures():
            attach(self._store.connection)
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what came after the last cursor."""
        self._store.rollback()
        detach(self._store.connection)
        if self._has_loaded:
            self._store.empty_log()

    def take(self, line: Line) -> bool:
        """Take a line; True where it ends the answer. Errors: ProtocolBroken, as `readable_failures`."""
        if line.image is not None:
            self._place(line)
        self._held.append(line)
        self._rows_held += len(line.rows or ()) + len(line.keys or ()) + line.count
        if line.cursor is None and line.end is None and self._rows_held < ROWS_HELD:
            return False
        held, self._held, self._rows_held = self._held, [], 0
        with readable_failures():
            connection = self._store.begin()
            if self._overlay is None:
                self._overlay = Overlay(connection, self._model)
            try:
                for each in held:
                    self._apply(connection, self._overlay, each)
            except _MISFITS as error:
                raise ProtocolBroken("The server's answer does not fit the tables.") from error
        return line.end is not None

    def counted(self) -> Applied:
        """What was committed since this was asked last."""
        applied, self._applied = self._applied, Applied()
        return applied

    def _place(self, line: Line) -> None:
        """Images are put into their place before the transaction that takes their rows: one in each."""
        connection = self._store.connection
        if self._placed is None and connection.get_autocommit():
            place(connection, line.columns or (), line.content)
            self._placed, line.content = line, b""

    def _commit(self, connection: apsw.Connection, overlay: Overlay, cursor: str, end: End | None) -> None:
        if end is not None:
            self._finish_reset(connection, overlay)
            for entity in self._model.entities:
                self._index(connection, entity)
            self._store.set("checkpoint", str(end.checkpoint))
            self._changes.checkpoint = end.checkpoint
        overlay.finish(is_complete=end is not None)
        self._overlay = None  # edits may be made before the next transaction
        self._placed = None
        self._store.set("cursor", cursor)
        connection.execute("commit")
        self._applied.add(self._changes)
        self._changes = Applied()

    def _apply(self, connection: apsw.Connection, overlay: Overlay, line: Line) -> None:
        if line.cursor is not None:
            self._commit(connection, overlay, line.cursor, None)
        elif line.end is not None:
            self._commit(connection, overlay, line.end.cursor, line.end)
        elif line.begin is not None:
            self._begin(connection, overlay, line.begin)
        elif line.model is not None:
            self._migrate(connection, overlay, line.model)
        elif line.put is not None and line.rows is not None and line.columns is not None:
            self._put(connection, overlay, line.put, tuple(line.columns), line.rows)
        elif line.image is not None:
            self._put_image(connection, overlay, line)
        elif line.loaded is not None:
            self._finish_load(connection, line.loaded)
        elif line.remove is not None and line.keys is not None:
            self._remove(connection, overlay, line.remove, line.keys)
        elif line.outcome is not None:
            self._settle(connection, overlay, line.outcome)
        for name in line.wipe or ():
            self._wipe(connection, overlay, name)

    def _begin(self, connection: apsw.Connection, overlay: Overlay, begin: Begin) -> None:
        renew_lease(self._store, None if begin.lease is msgspec.UNSET else begin.lease, self._clock.now())
        if begin.reset:
            connection.execute("delete from _satchel_seen")  # of a reset that this one begins over
            self._store.set(RESET, "1")
            overlay.begin_reset()
            self._changes.was_reset = True

    def _settle(self, connection: apsw.Connection, overlay: Overlay, outcome: Outcome) -> None:
        if settle(connection, overlay, outcome):
            verdicts = self._changes.verdicts
            verdicts[outcome.verdict] = verdicts.get(outcome.verdict, 0) + 1

    def _migrate(self, connection: apsw.Connection, overlay: Overlay, model: ClientModel) -> None:
        overlay.change_model(model, migrate(connection, self._model, model))
        self._store.set("model", msgspec.json.encode(model).decode())
        self._model = model
        self._statements.clear()

    def _put(
        self,
        connection: apsw.Connection,
        overlay: Overlay,
        name: str,
        columns: tuple[str, ...],
        rows: list[list[Any]],
    ) -> None:
        entity = self._model.entity_by_name.get(name)
        if entity is None:
            raise ProtocolBroken("The server sent rows of an entity that the client model does not have.", entity=name)
        make_key(connection, entity)
        statement = self._statements.get((name, columns))
        if statement is None:
            statement = self._statements[name, columns] = upsert(entity, columns)
        connection.executemany(statement, rows)
        overlay.put(entity, columns, rows)
        if self._store.get(RESET):
            self._note_seen(connection, entity, columns, rows)
        counts = self._changes.rows_by_entity
        counts[name] = counts.get(name, 0) + len(rows)

    def _put_image(self, connection: apsw.Connection, overlay: Overlay, line: Line) -> None:
        name = line.image or ""
        entity = self._model.entity_by_name.get(name)
        if entity is None or line.columns != [attribute.name for attribute in entity.attributes]:
            raise ProtocolBroken("The server sent an image that does not fit the client model.", entity=name)
        is_reset = self._store.get(RESET) is not None
        content = None if line is self._placed else line.content
        count = load_image(connection, overlay, entity, content, is_reset=is_reset)
        counts = self._changes.rows_by_entity
        counts[name] = counts.get(name, 0) + count

    def _finish_load(self, connection: apsw.Connection, name: str) -> None:
        """All rows of the entity have come: it gets its indexes."""
        entity = self._model.entity_by_name.get(name)
        if entity is not None:
            self._index(connection, entity)

    def _index(self, connection: apsw.Connection, entity: ClientEntity) -> None:
        self._has_loaded |= make_indexes(connection, entity)

    def _note_seen(
        self, connection: apsw.Connection, entity: ClientEntity, columns: Sequence[str], rows: list[list[Any]]
    ) -> None:
        """Remember across answers what a reset put. A row made anew in the place of a removed one was put as well."""
        places = [columns.index(part) for part in entity.key]
        seen = ((*(row[place] for place in places), entity.name) for row in rows)
        connection.executemany(
            f"insert or ignore into _satchel_seen select ?{len(places) + 1}, _rowid_"
            f" from {quoted(entity.name)} where {key_matches(entity)}",
            seen,
        )

    def _remove(self, connection: apsw.Connection, overlay: Overlay, name: str, keys: list[Any]) -> None:
        """What is not there needs no removing: neither a row nor an entity."""
        entity = self._model.entity_by_name.get(name)
        if entity is None:
            return
        make_key(connection, entity)
        before = connection.total_changes()
        bound = [tuple(key) if isinstance(key, list) else (key,) for key in keys]
        connection.executemany(f"delete from {quoted(name)} where {key_matches(entity)}", bound)
        self._changes.rows_removed += connection.total_changes() - before
        overlay.remove(name, bound)

    def _wipe(self, connection: apsw.Connection, overlay: Overlay, name: str) -> None:
        if name in self._model.entity_by_name:
            connection.execute(f"delete from {quoted(name)}")
            self._changes.rows_removed += connection.changes()
            overlay.wipe(name)

    def _finish_reset(self, connection: apsw.Connection, overlay: Overlay) -> None:
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
        overlay.finish_reset()
        connection.execute("delete from _satchel_seen")
        self._store.set(RESET, None)
