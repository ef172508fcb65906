"""A fence around a database that moved: who still has it open can read there, and never write again.

Writers are refused in the same transaction in which the last of their rows were copied, so that none is lost.
"""

from __future__ import annotations

from psycopg import sql

from satchel.database.copying.definition import FENCE, Definition
from satchel.database.pool import Connection

LOCK_WAIT = "3s"
_REFUSE = sql.SQL("""
create or replace function {function}() returns trigger language plpgsql as $$
begin
    raise exception using errcode = 'read_only_sql_transaction', message = 'this database moved to another server';
end $$
""")


async def lock_writers_out(connection: Connection, definition: Definition) -> None:
    """Until the caller's transaction ends nobody writes; who reads goes on.

    Errors: psycopg's LockNotAvailable, DeadlockDetected where writers do not let go in time; they come first.
    """
    await connection.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(LOCK_WAIT)))
    tables = sql.SQL(", ").join(table.identifier for table in definition.tables)
    await connection.execute(sql.SQL("lock table {} in share row exclusive mode").format(tables))


async def raise_fence(connection: Connection, definition: Definition, move: str) -> None:
    """Refuse all writes from the end of the caller's transaction on."""
    function = sql.Identifier("satchel", FENCE)
    await connection.execute(_REFUSE.format(function=function))
    for table in definition.tables:
        statement = sql.SQL(
            "create trigger {} before insert or update or delete or truncate on {} for each statement"
            " execute function {}()"
        )
        await connection.execute(statement.format(sql.Identifier(FENCE), table.identifier, function))
    await connection.execute(sql.SQL("create table {} (move text not null)").format(function))
    await connection.execute(sql.SQL("insert into {} values ({})").format(function, sql.Literal(move)))


async def fenced_by(connection: Connection) -> str | None:
    """The move that the fence was raised for; None: there is none."""
    row = await (await connection.execute("select to_regclass('satchel.satchel_moved') is not null")).fetchone()
    if row is None or not row[0]:
        return None
    found = await (await connection.execute("select move from satchel.satchel_moved")).fetchone()
    return str(found[0]) if found else None


async def lower_fence(connection: Connection) -> None:
    """Let writers in again. Order: the caller's transaction."""
    function = sql.Identifier("satchel", FENCE)
    await connection.execute(sql.SQL("drop table if exists {}").format(function))
    await connection.execute(sql.SQL("drop function if exists {} cascade").format(function))
