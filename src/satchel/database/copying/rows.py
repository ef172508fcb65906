"""Rows from one database to another: a whole table, then only what changed since; streamed, in bounded memory.

What changed is found by the transaction that wrote a row last (`xmin`): it is not older than the oldest transaction
that was open when the copy began. A row may be found without need, never missed. What was deleted is found by its key.
"""

from __future__ import annotations

from psycopg import sql
from psycopg.rows import TupleRow

from satchel.database.copying.definition import Table
from satchel.database.pool import Connection

_FORMS = ("set datestyle to 'ISO'", "set intervalstyle to 'postgres'", "set extra_float_digits to 1")


async def agree_on_forms(connection: Connection) -> None:
    """Values travel as text: both sides write and read it the same way."""
    for statement in _FORMS:
        await connection.execute(statement)


async def oldest_open(source: Connection) -> str:
    """The oldest transaction that this snapshot does not see the end of."""
    return str((await _row(source, sql.SQL("select pg_snapshot_xmin(pg_current_snapshot())::text")))[0])


async def copy_all(source: Connection, target: Connection, table: Table) -> None:
    """All rows of a table, in place of what is there."""
    await target.execute(sql.SQL("truncate {}").format(table.identifier))
    await stream(source, target, _selected(table), table.identifier, table.stored)


async def copy_changes(source: Connection, target: Connection, table: Table, since: str) -> int:
    """What was written or deleted since; returns how many rows were written. Order: the callers' transactions."""
    if not table.key:
        await copy_all(source, target, table)
        return 0
    recent = sql.SQL("{} where age(xmin) <= age(({}::xid8)::xid)").format(_selected(table), sql.Literal(since))
    delta = sql.Identifier("pg_temp", "satchel_delta")
    make = sql.SQL("create temp table satchel_delta on commit drop as select {} from {} where false")
    await target.execute(make.format(_names(table.stored), table.identifier))
    await stream(source, target, recent, delta, table.stored)
    written = int((await _row(target, sql.SQL("select count(*) from {}").format(delta)))[0])
    await _delete_gone(source, target, table)
    if written:
        same = _same(table.key)
        delete = sql.SQL("delete from {} t using {} d where {}")
        await target.execute(delete.format(table.identifier, delta, same))
        insert = sql.SQL("insert into {} ({names}) overriding system value select {names} from {}")
        await target.execute(insert.format(table.identifier, delta, names=_names(table.stored)))
    await target.execute("drop table pg_temp.satchel_delta")
    return written


async def count(connection: Connection, table: Table) -> int:
    """How many rows a table has."""
    return int((await _row(connection, sql.SQL("select count(*) from {}").format(table.identifier)))[0])


async def stream(
    source: Connection, target: Connection, query: sql.Composable, into: sql.Composable, columns: list[str]
) -> None:
    """Rows of a query into a table of another database."""
    taking = sql.SQL("copy ({}) to stdout").format(query)
    putting = sql.SQL("copy {} ({}) from stdin").format(into, _names(columns))
    async with (
        source.cursor() as reading,
        target.cursor() as writing,
        reading.copy(taking) as reader,
        writing.copy(putting) as writer,
    ):
        async for data in reader:
            await writer.write(data)


async def _delete_gone(source: Connection, target: Connection, table: Table) -> None:
    """Delete what the source no longer has; keys are compared only where the numbers say that there is any."""
    new = sql.SQL("select count(*) from pg_temp.satchel_delta d where not exists (select from {} t where {})")
    added = int((await _row(target, new.format(table.identifier, _same(table.key))))[0])
    if await count(target, table) + added == await count(source, table):
        return
    make = sql.SQL("create temp table satchel_key on commit drop as select {} from {} where false")
    await target.execute(make.format(_names(table.key), table.identifier))
    keys = sql.SQL("select {} from {}").format(_names(table.key), table.identifier)
    await stream(source, target, keys, sql.Identifier("pg_temp", "satchel_key"), table.key)
    await target.execute("analyze pg_temp.satchel_key")
    gone = sql.SQL("delete from {} t where not exists (select from pg_temp.satchel_key d where {})")
    await target.execute(gone.format(table.identifier, _same(table.key)))
    await target.execute("drop table pg_temp.satchel_key")


def _selected(table: Table) -> sql.Composed:
    return sql.SQL("select {} from {}").format(_names(table.stored), table.identifier)


def _names(columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in columns)


def _same(key: list[str]) -> sql.Composed:
    return sql.SQL(" and ").join(sql.SQL("t.{0} = d.{0}").format(sql.Identifier(name)) for name in key)


async def _row(connection: Connection, statement: sql.SQL | sql.Composed) -> TupleRow:
    row = await (await connection.execute(statement)).fetchone()
    assert row is not None  # noqa: S101 - an aggregate is one row
    return row
