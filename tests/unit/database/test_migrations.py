"""Migrations run in the order of their numbers; those that wait for old processes to end may run last."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from satchel.database import migrate as migrations
from satchel.database.migrate import Lacking, lacking, migrate
from satchel.database.pool import Database
from satchel.database.server import drop_database, ensure_database, url_of

FOLDER = Path(migrations.__file__).with_name("migrations")
EVERYTHING = """
select table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || coalesce(column_default, '')
from information_schema.columns where table_schema = 'satchel'
union all select indexdef from pg_indexes where schemaname = 'satchel'
union all select conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
where connamespace = 'satchel'::regnamespace
union all select pg_get_triggerdef(t.oid) from pg_trigger t join pg_class c on c.oid = tgrelid
where relnamespace = 'satchel'::regnamespace and not tgisinternal
union all select pg_get_functiondef(oid) from pg_proc where pronamespace = 'satchel'::regnamespace
order by 1
"""
MANY_PRE = sum("_pre_" in path.name for path in (FOLDER / "staging").glob("*.sql")) - 1
IS_WAITED_FOR = """
select exists (select from pg_locks where not granted and relation = 'satchel.head'::regclass)
"""


@pytest.fixture
async def empty(postgres_url: str) -> AsyncIterator[Database]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    await ensure_database(postgres_url, name)
    async with Database(url_of(postgres_url, database=name), pool_size=2) as database:
        yield database
    await drop_database(postgres_url, name)


@pytest.mark.parametrize("kind", ["control", "staging"])
def test_numbers_have_no_holes_and_come_once(kind: str) -> None:
    numbers = sorted(int(path.name[:4]) for path in (FOLDER / kind).glob("*.sql"))
    assert numbers == list(range(1, len(numbers) + 1))


async def as_left_by(empty: Database, version: int) -> dict[int, Path]:
    """Make a staging database as an older version left it; all migrations there are now."""
    names = {int(path.name[:4]): path for path in (FOLDER / "staging").glob("*.sql")}
    async with empty.transaction() as connection:
        await connection.execute("create schema satchel")
        await connection.execute("create table satchel.version (number integer not null)")
        await connection.execute("insert into satchel.version values (%s)", [version])
        for number in range(1, version + 1):
            await connection.execute(names[number].read_bytes())
    return names


@pytest.mark.parametrize("before", [1, 9, 10])
async def test_those_that_wait_for_old_processes_run_last_with_the_same_result(
    staging: Database, empty: Database, before: int
) -> None:
    names = await as_left_by(empty, before)

    async with empty.connection() as connection:
        lacks = await lacking(connection, "staging")

    ran = await migrate(empty, "staging", with_post=False)

    assert lacks.pre == ran == sum("_pre_" in path.name for number, path in names.items() if number > before)
    assert await migrate(empty, "staging", with_post=False) == 0
    async with empty.connection() as connection:
        assert await lacking(connection, "staging") == Lacking(0, lacks.post)
    assert (
        lacks.post
        == await migrate(empty, "staging")
        == sum("_post_" in path.name for number, path in names.items() if number > before)
    )
    assert await migrate(empty, "staging") == 0
    assert await empty.fetch(EVERYTHING) == await staging.fetch(EVERYTHING)


@pytest.mark.parametrize("version", [1, None], ids=["an older one", "this one"])
async def test_a_look_at_a_migrated_database_waits_for_no_reader(empty: Database, version: int | None) -> None:
    if version is None:
        await migrate(empty, "staging")
    else:
        await as_left_by(empty, version)
    async with await psycopg.AsyncConnection.connect(empty.url) as backup:
        await backup.execute("select * from satchel.version")  # it reads on for hours
        async with asyncio.timeout(10), empty.connection() as connection:
            assert (await lacking(connection, "staging")).pre == (0 if version is None else MANY_PRE)
            if version is None:
                assert await migrate(empty, "staging", with_post=False) == 0


async def test_in_an_empty_database_nothing_waits(empty: Database) -> None:
    assert await migrate(empty, "staging", with_post=False) == len(list((FOLDER / "staging").glob("*.sql")))


async def test_work_that_goes_on_meanwhile_and_a_migration_never_wait_for_each_other(empty: Database) -> None:
    """What worked on one table goes on to another one that a migration has changed already."""
    names = await as_left_by(empty, 10)
    async with await psycopg.AsyncConnection.connect(empty.url) as work:
        await work.execute("select from satchel.head for update")
        migrating = asyncio.ensure_future(migrate(empty, "staging", with_post=False))
        while not (await (await work.execute(IS_WAITED_FOR)).fetchone() or [False])[0]:
            assert not migrating.done()
        await work.execute("select is_forgotten from satchel.edit_set")
        await work.commit()
        assert await migrating == sum("_pre_" in path.name for number, path in names.items() if number > 10)


async def test_a_backup_that_reads_for_long_keeps_no_process_from_starting(staging: Database) -> None:
    """It has read the version's table, and holds that until all is written."""
    async with staging.snapshot() as reading:
        await reading.execute("select from satchel.version")
        assert await asyncio.wait_for(migrate(staging, "staging"), 20) == 0
