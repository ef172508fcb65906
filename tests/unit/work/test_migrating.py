"""A staging database that was left while everything was migrated is brought up as soon as it goes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import psycopg

from satchel.database.pool import Database
from satchel.database.server import url_of
from satchel.identity.keys import MasterKey
from satchel.provisioning.databases import StagingDatabases
from satchel.provisioning.organizations import Organizations
from satchel.work.schedule import keep_migrating

INSERT = """
insert into satchel.organization (name, source_kind, source_url, connection, database_name, state)
values (%(name)s, 'odata', 'https://x.example', '', %(database)s, 'active')
"""


async def test_what_was_left_is_migrated_later(control: Database, postgres_url: str) -> None:
    databases = StagingDatabases({"default": postgres_url}, MasterKey(b"k" * 32).keys("x"), statement_timeout_seconds=0)
    organizations = Organizations(control)
    for name in ("here", "late"):
        await control.fetch(INSERT, {"name": name, "database": f"left_{name}"})
    here, late = sorted(await organizations.all(), key=lambda each: each.name)
    await databases.make_empty(here.database_name, here.place)
    keeping = asyncio.ensure_future(keep_migrating(organizations, databases, every_seconds=0.02))
    try:
        while not await version(postgres_url, here.database_name):
            assert not keeping.done()
        await databases.make_empty(late.database_name, late.place)  # it did not answer before
        while not await version(postgres_url, late.database_name):
            assert not keeping.done()
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        for each in (here, late):
            await databases.drop(each)


async def version(url: str, name: str) -> int:
    try:
        async with await psycopg.AsyncConnection.connect(url_of(url, database=name)) as connection:
            row = await (await connection.execute("select number from satchel.version")).fetchone()
            return int(row[0]) if row else 0
    except psycopg.Error:
        return 0
