"""Where the rows are: SQLite, in memory or in a file, a table for each entity, one version counter for all.

A row's version is the counter's value at its last write; a removed row leaves a tombstone with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import apsw

from satchel.sandbox.schema.kinds import CHOICES, Entity, Kind
from satchel.sandbox.schema.organization import ENTITIES

_INTEGERS = {Kind.INTEGER, Kind.BIGINT, Kind.MONEY, Kind.BOOLEAN, *CHOICES}
_OWN_TABLES = """
create table if not exists _tombstone (
  entity text, version integer, key text, primary key (entity, version)
) without rowid;
create unique index if not exists _tombstone_key on _tombstone (entity, key);
create table if not exists _audit (
  n integer primary key, time text, user text, application text, entity text, key text, operation text,
  attributes text, request text, content_id text
);
create table if not exists _note (name text primary key, value text) without rowid;
"""
_FIRST_VERSION = 1_000_000

Row = dict[str, Any]


class Store:
    """The organization's rows."""

    def __init__(self, path: str = ":memory:") -> None:
        """Open it; a new one has empty tables. Rolling back needs a journal; in memory it costs next to nothing."""
        self.connection = apsw.Connection(path, statementcachesize=300)
        # A file has one process: versions are counted in this one.
        journal = "memory" if path == ":memory:" else "wal"
        self.connection.execute("pragma locking_mode = exclusive; pragma synchronous = normal")
        self.connection.execute(f"pragma journal_mode = {journal}")
        self.connection.execute("pragma temp_store = memory; pragma cache_size = -65536; pragma mmap_size = 1073741824")
        with self.connection:
            for entity in ENTITIES:
                self.connection.execute(_table(entity))
            self.connection.execute(_OWN_TABLES)
        self.version = self._last_version()

    def note(self, name: str, value: str) -> None:
        """Keep a fact about the whole organization."""
        self.run("insert or replace into _note values (?, ?)", (name, value))

    def noted(self, name: str) -> str | None:
        """A fact about the whole organization; None where it was never told."""
        found = self.value("select value from _note where name = ?", (name,))
        return None if found is None else str(found)

    def next_version(self) -> int:
        """The version of the write that is about to happen."""
        self.version += 1
        return self.version

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; may be nested."""
        with self.connection:
            yield

    def rows(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query."""
        return list(self.connection.execute(sql, values))

    def value(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
        """The first column of the first row; None where there is no row."""
        for row in self.connection.execute(sql, values):
            return row[0]
        return None

    def run(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run a statement."""
        self.connection.execute(sql, values)

    def row(self, entity: Entity, key: str) -> Row | None:
        """A row by its SQL columns."""
        sql = f'select * from "{entity.name}" where {entity.key} = ?'
        for row in self.connection.execute(sql, (key,)):
            return dict(zip(entity.sql_columns, row, strict=True))
        return None

    def load(self, entity: Entity, rows: Iterable[Row]) -> int:
        """Add made rows in one go; their versions follow in their order. Cost: a statement for them all."""
        names = entity.sql_columns
        marks = ",".join("?" * len(names))

        def bindings() -> Iterator[tuple[Any, ...]]:
            for row in rows:
                self.version += 1
                row["versionnumber"] = self.version
                yield tuple(map(row.get, names))

        before = self.version
        with self.connection:
            self.connection.executemany(f'insert into "{entity.name}" values ({marks})', bindings())
        return self.version - before

    def _last_version(self) -> int:
        """The highest version there is; it is higher than any ETag that was ever given out for a standing row."""
        tables = [f'select max(versionnumber) from "{entity.name}"' for entity in ENTITIES]
        found = self.rows(" union all ".join([*tables, "select max(version) from _tombstone"]))
        return max(_FIRST_VERSION, *(row[0] or 0 for row in found))

    def close(self) -> None:
        """Forget everything; what is in a file stays there."""
        self.connection.close()


def _table(entity: Entity) -> str:
    types = {
        column.name: "integer" if column.kind in _INTEGERS else "real" if column.kind is Kind.DOUBLE else "text"
        for column in entity.columns
    }
    columns = [
        f'"{name}" {types.get(name, "text")}' + (" primary key not null" if name == entity.key else "")
        for name in entity.sql_columns
    ]
    return (
        f'create table if not exists "{entity.name}" ({", ".join(columns)}) without rowid;'
        f'create index if not exists "{entity.name}_version" on "{entity.name}" (versionnumber);'
    )
