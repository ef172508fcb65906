"""One copy of a database on its way to another server: what is done stands over there, so that it can go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from psycopg import sql

from satchel.database.copying import definition, rows
from satchel.database.copying.definition import Definition, read_definition
from satchel.database.copying.fence import lock_writers_out, raise_fence
from satchel.database.pool import Connection
from satchel.errors import StoreBusy

_TABLES = """
create schema satchel_copy;
create table satchel_copy.copy (move text not null, digest text not null, since text not null);
create table satchel_copy.done (name text primary key);
"""


class Copy:
    """Copies what `source` is to where `target` is. Both are one connection each, of the database's own role."""

    def __init__(self, source: Connection, target: Connection, move: str, made_of: Definition) -> None:
        """Use `begin`."""
        self._source = source
        self._target = target
        self._move = move
        self._made_of = made_of

    @classmethod
    async def begin(cls, source: Connection, target: Connection, move: str) -> Copy:
        """Go on with the copy that stands there, or begin anew: another move's, or of what has changed its form since.

        Errors: CopyImpossible; StoreBusy where what stands there is no copy.
        """
        for connection in (source, target):
            await rows.agree_on_forms(connection)
        copy = cls(source, target, move, await read_definition(source))
        known = await _known(target)
        if known is None or known != (move, copy._made_of.digest):
            await copy._begin_anew()
        else:
            await copy._reopen()
        return copy

    async def tables(self, on_progress: Callable[[int, int], Awaitable[None]]) -> None:
        """All rows of each table that is not there yet, each in one transaction."""
        found = await (await self._target.execute("select name from satchel_copy.done")).fetchall()
        done = {str(row[0]) for row in found}
        for table in self._made_of.tables:
            name = f"{table.schema}.{table.name}"
            if name not in done:
                async with self._source.transaction(), self._target.transaction():
                    await self._source.execute("set transaction isolation level repeatable read, read only")
                    await rows.copy_all(self._source, self._target, table)
                    await self._target.execute("insert into satchel_copy.done values (%s)", [name])
                done.add(name)
                await on_progress(len(done), len(self._made_of.tables))
        if "constraints" not in done:
            async with self._target.transaction():
                for statement in definition.constraints_made(self._made_of):
                    await self._target.execute(statement)
                await self._target.execute("insert into satchel_copy.done values ('constraints')")
            await self._target.execute("analyze")

    async def changes(self) -> int:
        """What was written since the last time; returns how many rows. Order: rows and position move together."""
        async with self._target.transaction(), self._source.transaction():
            await self._source.execute("set transaction isolation level repeatable read, read only")
            return await self._copy_changes()

    async def finish_behind_a_fence(self) -> None:
        """The rest, while nobody writes; from then on the old place refuses every write.

        Order: the copy is committed before the fence is: a fence says that all is over there. Errors: StoreBusy where
        writers do not let go, or where the form of the database changed meanwhile; nothing is fenced then.
        """
        async with self._source.transaction():
            await lock_writers_out(self._source, self._made_of)
            now = await read_definition(self._source)
            if now.digest != self._made_of.digest:
                raise StoreBusy("The form of the database changed while it was copied.", wait_seconds=1.0)
            async with self._target.transaction():
                await self._copy_changes()
                for statement in (*definition.references_made(now), *definition.sequences_set(now)):
                    await self._target.execute(statement)
                for each in await self._differences():  # it never did; better late than wrong
                    raise StoreBusy(f"The copy of {each}; nothing was changed.")
                await self._target.execute("insert into satchel_copy.done values ('all')")
            await raise_fence(self._source, now, self._move)

    @staticmethod
    async def end(target: Connection) -> None:
        """The copy is the database now: forget what it was copied by, check its references. Again is harmless."""
        await target.execute("drop schema if exists satchel_copy cascade")
        made_of = await read_definition(target)
        for statement in definition.references_checked(made_of):
            await target.execute(statement)
        await target.execute("analyze")

    async def _reopen(self) -> None:
        """A copy that was complete once, but not fenced: rows can be put in again only without references."""
        async with self._target.transaction():
            for statement in definition.references_dropped(self._made_of):
                await self._target.execute(statement)
            await self._target.execute("delete from satchel_copy.done where name = 'all'")

    async def _begin_anew(self) -> None:
        """Make the tables. Order: nothing that stands there is dropped before it is known to be a copy."""
        standing = await read_definition(self._target)
        if standing.tables and await _known(self._target) is None:
            raise StoreBusy("A database of this name is there already, and it is no copy; it is kept. Look at it.")
        async with self._target.transaction():
            for schema in ("satchel_copy", *standing.schemas):
                await self._target.execute(_dropped(schema))
            await self._target.execute(_TABLES)
            for statement in definition.tables_made(self._made_of):
                await self._target.execute(statement)
            since = await rows.oldest_open(self._source)
            await self._target.execute(
                "insert into satchel_copy.copy values (%s, %s, %s)", [self._move, self._made_of.digest, since]
            )

    async def _copy_changes(self) -> int:
        since = await (await self._target.execute("select since from satchel_copy.copy")).fetchone()
        assert since is not None  # noqa: S101 - made with the table
        now = await rows.oldest_open(self._source)
        written = 0
        for table in self._made_of.tables:
            written += await rows.copy_changes(self._source, self._target, table, since[0])
        await self._target.execute("update satchel_copy.copy set since = %s", [now])
        return written

    async def _differences(self) -> list[str]:
        found = []
        for table in self._made_of.tables:
            here, there = await rows.count(self._source, table), await rows.count(self._target, table)
            if here != there:
                found.append(f"{table.schema}.{table.name} has {there} rows instead of {here}")
        return found


async def _known(target: Connection) -> tuple[str, str] | None:
    row = await (await target.execute("select to_regclass('satchel_copy.copy') is not null")).fetchone()
    if row is None or not row[0]:
        return None
    found = await (await target.execute("select move, digest from satchel_copy.copy")).fetchone()
    return (str(found[0]), str(found[1])) if found else None


def _dropped(schema: str) -> sql.Composed:
    return sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema))
