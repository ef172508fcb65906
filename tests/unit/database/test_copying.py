"""Copying a database to another server: everything it is made of, what changed meanwhile, and a fence that holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from satchel.database.copying import fence
from satchel.database.copying.copy import Copy
from satchel.database.copying.definition import read_definition
from satchel.database.migrate import migrate
from satchel.database.pool import Connection, Database
from satchel.database.server import ensure_database, ensure_role, url_of
from satchel.errors import CopyImpossible, StoreBusy
from tests.support.debian_postgres import DebianPostgres

NAME = "satchel_copied"
SAMPLE = """
create table staging.contact (_row bigint primary key default nextval('satchel.row_id'), name text collate "C" not null,
    size numeric(12, 3), at timestamptz, twice numeric generated always as (size * 2) stored, tags text[],
    unique (name));
create index by_size on staging.contact (size desc) where size > 1;
insert into staging.contact (name, size, at, tags)
    select 'n' || i || E'\\t\\\\ü', i / 3.0, now(), array[null, i::text] from generate_series(1, 500) i;
insert into satchel.family (entity, name) select 'e', 'f' || i from generate_series(1, 5) i;
insert into satchel.bucket (family, key, digest) select f.id, array[i::text], gen_random_uuid()
    from satchel.family f, generate_series(1, 20) i;
insert into satchel.member (row_id, bucket, op, is_live, content, family) select i, b.id, i, true, i, b.family
    from satchel.bucket b, generate_series(1, 20) i;
create unlogged table satchel.source_key (entity text not null, key text[] not null);
insert into satchel.source_key values ('e', array['1']);
insert into satchel.head (epoch) values ('epoch');
create function satchel.note() returns trigger language plpgsql as $$ begin new.op := new.op + 1; return new; end $$;
create trigger noted before insert on satchel.head for each row execute function satchel.note();
"""
CHANGES = """
update staging.contact set size = 7 where _row % 50 = 0;
delete from staging.contact where _row % 77 = 0;
insert into staging.contact (name) values ('new');
update staging.contact set name = case name when 'n1' || E'\\t\\\\ü' then 'swapped' else name end;
delete from satchel.family where name = 'f2';
insert into satchel.family (entity, name) values ('e', 'f2');
update satchel.head set op = op + 1;
insert into satchel.source_key values ('e', array['2']);
"""


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianPostgres]:
    with DebianPostgres(tmp_path_factory.mktemp("satchel") / "server") as server:
        yield server


class Pair:
    """The same database on two servers: PostgreSQL as embedded, and Debian's."""

    def __init__(self, old: str, new: str) -> None:
        self.urls = {"old": old, "new": new}

    @asynccontextmanager
    async def connection(self, which: str) -> AsyncIterator[Connection]:
        async with await psycopg.AsyncConnection.connect(self.urls[which], autocommit=True) as connection:
            yield connection

    async def run(self, which: str, statements: str) -> None:
        async with self.connection(which) as connection:
            await connection.execute(statements.encode())

    async def content(self, which: str) -> dict[str, object]:
        """Form, rows and positions."""
        async with self.connection(which) as connection:
            made_of = await read_definition(connection)
            found: dict[str, object] = {}
            for table in made_of.tables:
                rows = await (
                    await connection.execute(f"select t::text from {table.schema}.{table.name} t".encode())
                ).fetchall()
                found[table.name] = sorted(row[0] for row in rows)
                found[f"{table.name} columns"] = [table.columns, table.is_unlogged, table.key]
            found["sequences"] = made_of.sequences
            found["constraints"] = [each for each in made_of.constraints if not each.text.endswith("NOT VALID")]
            found["indexes"] = made_of.indexes
            found["functions"], found["triggers"] = made_of.functions, made_of.triggers
            return found


@pytest.fixture
async def pair(postgres_url: str, debian: DebianPostgres) -> AsyncIterator[Pair]:
    urls = []
    for server in (postgres_url, debian.url):
        await ensure_role(server, NAME, "a password")
        await ensure_database(server, NAME, owner=NAME)
        urls.append(url_of(server, database=NAME, user=NAME, password="a password"))
    async with Database(urls[0], pool_size=1) as database:
        await migrate(database, "staging")
    pair = Pair(*urls)
    await pair.run("old", SAMPLE)
    yield pair
    for server in (postgres_url, debian.url):
        async with await psycopg.AsyncConnection.connect(server, autocommit=True) as connection:
            await connection.execute(f"drop database {NAME} with (force)".encode())
            await connection.execute(f"drop role {NAME}".encode())


async def nothing(_done: int, _total: int) -> None:
    return


async def test_a_copy_is_the_same_in_every_part_also_on_another_version(pair: Pair) -> None:
    async with pair.connection("old") as old, pair.connection("new") as new:
        copy = await Copy.begin(old, new, "a move")
        await copy.tables(nothing)
        await pair.run("old", CHANGES)
        assert await copy.changes() > 0
        await pair.run("old", CHANGES.replace("'new'", "'newer'"))
        await copy.finish_behind_a_fence()
        await Copy.end(new)

    assert await pair.content("new") == await pair.content("old")
    await pair.run("new", "insert into staging.contact (name) values ('after'); delete from satchel.family")
    members = (await pair.content("new"))["member"]
    assert members == []  # the reference cascades there as well


async def test_a_copy_goes_on_where_another_process_left_it(pair: Pair) -> None:
    async with pair.connection("old") as old, pair.connection("new") as new:
        copy = await Copy.begin(old, new, "a move")
        await copy.tables(nothing)
    await pair.run("old", CHANGES)

    copied = []

    async def note(done: int, _total: int) -> None:
        copied.append(done)

    async with pair.connection("old") as old, pair.connection("new") as new:
        copy = await Copy.begin(old, new, "a move")
        await copy.tables(note)
        assert copied == []
        await copy.finish_behind_a_fence()
        await Copy.end(new)
    assert await pair.content("new") == await pair.content("old")


async def test_a_copy_that_was_complete_but_not_fenced_follows_the_old_place(pair: Pair) -> None:
    async with pair.connection("old") as old, pair.connection("new") as new:
        copy = await Copy.begin(old, new, "a move")
        await copy.tables(nothing)
        await copy.finish_behind_a_fence()
        await fence.lower_fence(old)  # as where the process was killed between the two commits
    await pair.run("old", CHANGES)

    async with pair.connection("old") as old, pair.connection("new") as new:
        await (await Copy.begin(old, new, "a move")).finish_behind_a_fence()
        await Copy.end(new)
    assert await pair.content("new") == await pair.content("old")


async def test_behind_the_fence_all_can_read_and_nobody_writes(pair: Pair) -> None:
    async with pair.connection("old") as writer, pair.connection("old") as reader:
        await writer.execute("prepare p as update satchel.head set op = op + 1")
        await writer.execute("execute p")
        async with pair.connection("old") as old, pair.connection("new") as new, reader.transaction():
            await reader.execute("select count(*) from staging.contact")  # a reader does not hold it up
            copy = await Copy.begin(old, new, "a move")
            await copy.tables(nothing)
            await copy.finish_behind_a_fence()
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await writer.execute("execute p")
        assert await (await reader.execute("select op from satchel.head")).fetchone() == (1,)
    async with Database(pair.urls["old"], pool_size=1) as database:
        with pytest.raises(StoreBusy):
            await database.fetch("truncate satchel.source_key")
    async with pair.connection("old") as old:
        assert await fence.fenced_by(old) == "a move"
        await fence.lower_fence(old)
    await pair.run("old", "update satchel.head set op = 5")


async def test_a_writer_that_waits_for_the_lock_writes_nothing_behind_the_fence(pair: Pair) -> None:
    async with pair.connection("old") as writer, pair.connection("old") as old, pair.connection("new") as new:
        copy = await Copy.begin(old, new, "a move")
        await copy.tables(nothing)
        async with writer.transaction():
            await writer.execute("update satchel.head set op = 9")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await copy.finish_behind_a_fence()  # writers come first
        await copy.finish_behind_a_fence()
    async with pair.connection("new") as new:
        assert await (await new.execute("select op from satchel.head")).fetchone() == (9,)


async def test_a_table_made_meanwhile_is_noticed(pair: Pair) -> None:
    async with pair.connection("old") as old, pair.connection("new") as new:
        copy = await Copy.begin(old, new, "a move")
        await copy.tables(nothing)
        await pair.run(
            "old", "create table staging.account (_row bigint primary key); insert into staging.account values (1)"
        )
        with pytest.raises(StoreBusy):
            await copy.finish_behind_a_fence()
        assert await fence.fenced_by(old) is None

        copy = await Copy.begin(old, new, "a move")
        await copy.tables(nothing)
        await copy.finish_behind_a_fence()
    assert (await pair.content("new"))["account"] == ["(1)"]


async def test_what_cannot_be_copied_is_refused_before_anything_happens(pair: Pair) -> None:
    await pair.run("old", "create view staging.seen as select 1 as one")
    async with pair.connection("old") as old, pair.connection("new") as new:
        with pytest.raises(CopyImpossible, match="view"):
            await Copy.begin(old, new, "a move")


async def test_a_database_that_is_no_copy_is_kept(pair: Pair) -> None:
    await pair.run("new", "create schema satchel; create table satchel.precious (one integer)")
    async with pair.connection("old") as old, pair.connection("new") as new:
        with pytest.raises(StoreBusy, match="no copy"):
            await Copy.begin(old, new, "a move")
    await pair.run("new", "select * from satchel.precious")
