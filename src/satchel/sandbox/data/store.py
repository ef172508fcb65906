"""Where the rows are: SQLite in memory, a table for each entity, one version counter for all.

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
create table _tombstone (entity text, version integer, key text, primary key (entity, version)) without rowid;
create unique index _tombstone_key on _tombstone (entity, key);
create table _audit (
  n integer primary key, time text, user text, application text, entity text, key text, operation text,
  attributes text, request text, content_id text
);
"""

Row = dict[str, Any]


class Store:
    """The organization's rows."""

    def __init__(self, path: str = ":memory:") -> None:
        """Open an empty one."""
        self.connection = apsw.Connection(path, statementcachesize=300)
        self.connection.execute("pragma journal_mode = off; pragma synchronous = off; pragma temp_store = memory")
        if path == ":memory:":
            # Rolling back needs a journal; in memory it costs nothing that matters.
            self.connection.execute("pragma journal_mode = memory")
        self.version = 1_000_000
        for entity in ENTITIES:
            self.connection.execute(_table(entity))
        self.connection.execute(_OWN_TABLES)

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

    def close(self) -> None:
        """Forget everything."""
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
        f'create table "{entity.name}" ({", ".join(columns)}) without rowid;'
        f'create index "{entity.name}_version" on "{entity.name}" (versionnumber);'
    )
