"""What a database is made of, as its catalog says it, and the statements that make the same elsewhere.

Only kinds that Satchel uses are known: tables, sequences, indexes, constraints, functions, triggers. Anything else is
refused, never left out.
Also for another major version of PostgreSQL, so that nothing depends on the programs of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec
from psycopg import sql
from psycopg.rows import TupleRow

from satchel.database.pool import Connection
from satchel.database.queries import load_queries
from satchel.errors import CopyImpossible

_SQL = load_queries(__file__)
Statement = sql.SQL | sql.Composed
FENCE = "satchel_moved"
"""Name of what a fence consists of; it is no part of the definition."""


class Column(msgspec.Struct, frozen=True):
    """One column."""

    name: str
    kind: str
    is_required: bool
    default: str | None
    identity: str
    """`a` always, `d` by default, empty: none."""
    generated: str


class Table(msgspec.Struct, frozen=True):
    """One table; `life` changes when its rows are written anew as a whole."""

    schema: str
    name: str
    is_unlogged: bool
    life: str
    columns: list[Column]
    key: list[str]
    """Columns of the primary key; empty: none."""

    @property
    def identifier(self) -> sql.Identifier:
        """Its name, quoted."""
        return sql.Identifier(self.schema, self.name)

    @property
    def stored(self) -> list[str]:
        """The columns that are copied."""
        return [column.name for column in self.columns if not column.generated]


class Sequence(msgspec.Struct, frozen=True):
    """A sequence of its own, or of an identity column (`table`, `column`)."""

    schema: str
    name: str
    kind: str
    table: str | None
    column: str | None
    last: int
    is_called: bool


class Constraint(msgspec.Struct, frozen=True):
    """A constraint: primary key, unique, check, foreign key."""

    schema: str
    table: str
    name: str
    kind: str
    text: str


class Trigger(msgspec.Struct, frozen=True):
    """A trigger."""

    schema: str
    table: str
    name: str
    text: str


class Definition(msgspec.Struct, frozen=True):
    """All of a database but its rows."""

    schemas: list[str]
    tables: list[Table]
    sequences: list[Sequence]
    constraints: list[Constraint]
    indexes: list[str]
    functions: list[str] = []
    triggers: list[Trigger] = []

    @property
    def digest(self) -> str:
        """Another one where anything was made, changed, dropped or written anew as a whole."""
        lasting = [msgspec.structs.replace(each, last=0, is_called=False) for each in self.sequences]
        return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(self, sequences=lasting))).hexdigest()


async def read_definition(connection: Connection, *, schemas: list[str] | None = None) -> Definition:
    """What the database is made of: these schemas, or all but the server's own and `public`.

    Errors: CopyImpossible where it has something of a kind that is not known here.
    """
    await connection.execute("set search_path to ''")  # so that every name the catalog gives is complete
    cursor = await connection.execute(_SQL["schemas"], {"schemas": schemas})
    names = [str(row[0]) for row in await cursor.fetchall()]
    wanted = {"schemas": names, "fence": FENCE}
    unknown = await (await connection.execute(_SQL["unknown"], wanted)).fetchall()
    if unknown:
        raise CopyImpossible(f"The database has a {unknown[0][0]} ({unknown[0][1]}).")
    tables = await (await connection.execute(_SQL["tables"], wanted)).fetchall()
    constraints = await (await connection.execute(_SQL["constraints"], wanted)).fetchall()
    indexes = await (await connection.execute(_SQL["indexes"], wanted)).fetchall()
    functions = await (await connection.execute(_SQL["functions"], wanted)).fetchall()
    triggers = await (await connection.execute(_SQL["triggers"], wanted)).fetchall()
    return Definition(
        names,
        [_table(row) for row in tables],
        await _sequences(connection, names),
        [Constraint(*row) for row in constraints],
        [str(row[0]) for row in indexes],
        [str(row[0]) for row in functions],
        [Trigger(*row) for row in triggers],
    )


def _table(row: TupleRow) -> Table:
    schema, name, is_unlogged, life, columns, key = row
    return Table(schema, name, is_unlogged, life, msgspec.convert(columns, list[Column]), key)


async def _sequences(connection: Connection, schemas: list[str]) -> list[Sequence]:
    found = []
    for row in await (await connection.execute(_SQL["sequences"], {"schemas": schemas})).fetchall():
        statement = sql.SQL("select last_value, is_called from {}").format(sql.Identifier(row[0], row[1]))
        last = await (await connection.execute(statement)).fetchone()
        assert last is not None  # noqa: S101 - a sequence is one row
        found.append(Sequence(*row, *last))
    return found


def tables_made(definition: Definition) -> Iterator[Statement]:
    """Statements that make schemas, sequences and tables, still without constraints and indexes."""
    for schema in definition.schemas:
        yield sql.SQL("create schema if not exists {}").format(sql.Identifier(schema))
    for sequence in definition.sequences:
        if sequence.table is None:
            name = sql.Identifier(sequence.schema, sequence.name)
            yield sql.SQL("create sequence {} as {}").format(name, _text(sequence.kind))
    for table in definition.tables:
        columns = sql.SQL(", ").join(_column(column) for column in table.columns)
        verb = sql.SQL("create unlogged table" if table.is_unlogged else "create table")
        yield sql.SQL("{} {} ({})").format(verb, table.identifier, columns)


def constraints_made(definition: Definition) -> Iterator[Statement]:
    """Statements that make everything that rows are found and checked by, but foreign keys."""
    for each in sorted(definition.constraints, key=lambda one: one.kind != "p"):
        if each.kind != "f":
            yield _constraint(each)
    for index in definition.indexes:
        yield _text(index)


def references_made(definition: Definition) -> Iterator[Statement]:
    """Statements that make foreign keys and triggers; the rows that are there are not checked: they are a copy."""
    if definition.functions:
        yield sql.SQL("set local check_function_bodies = off")
    for text in definition.functions:
        yield _text(text)
    for trigger in definition.triggers:
        yield _text(trigger.text)
    for each in definition.constraints:
        if each.kind == "f":
            made = _constraint(each)
            yield made if each.text.endswith("NOT VALID") else sql.SQL("{} not valid").format(made)


def references_dropped(definition: Definition) -> Iterator[Statement]:
    """Statements that take foreign keys and triggers away again."""
    for trigger in definition.triggers:
        place = sql.Identifier(trigger.schema, trigger.table)
        yield sql.SQL("drop trigger if exists {} on {}").format(sql.Identifier(trigger.name), place)
    for each in definition.constraints:
        if each.kind == "f":
            names = sql.Identifier(each.schema, each.table), sql.Identifier(each.name)
            yield sql.SQL("alter table {} drop constraint if exists {}").format(*names)


def references_checked(definition: Definition) -> Iterator[Statement]:
    """Statements that check the foreign keys after all, beside the work."""
    for each in definition.constraints:
        if each.kind == "f":
            names = sql.Identifier(each.schema, each.table), sql.Identifier(each.name)
            yield sql.SQL("alter table {} validate constraint {}").format(*names)


def sequences_set(definition: Definition) -> Iterator[Statement]:
    """Statements that set every sequence to where it stands in the definition."""
    for each in definition.sequences:
        name = sql.Identifier(each.schema, each.name).as_string(None)
        if each.table is None or each.column is None:
            place: sql.Composable = sql.SQL("{}::regclass").format(sql.Literal(name))
        else:
            table = sql.Identifier(each.schema, each.table).as_string(None)
            place = sql.SQL("pg_get_serial_sequence({}, {})").format(sql.Literal(table), sql.Literal(each.column))
        yield sql.SQL("select setval({}, {}, {})").format(place, sql.Literal(each.last), sql.Literal(each.is_called))


def _column(column: Column) -> sql.Composable:
    parts = [sql.Identifier(column.name), _text(column.kind)]
    if column.identity:
        when = sql.SQL("always" if column.identity == "a" else "by default")
        parts.append(sql.SQL("generated {} as identity").format(when))
    elif column.generated:
        parts.append(sql.SQL("generated always as ({}) stored").format(_text(column.default or "")))
    elif column.default is not None:
        parts.append(sql.SQL("default {}").format(_text(column.default)))
    if column.is_required:
        parts.append(sql.SQL("not null"))
    return sql.SQL(" ").join(parts)


def _constraint(each: Constraint) -> sql.Composed:
    table, name = sql.Identifier(each.schema, each.table), sql.Identifier(each.name)
    return sql.SQL("alter table {} add constraint {} {}").format(table, name, _text(each.text))


def _text(text: str) -> sql.SQL:
    """A piece that the catalog itself wrote."""
    return sql.SQL(text)
