"""Numbered migrations, applied in order, each in one transaction with its number.

`migrations/<kind>/0001_pre_<what>.sql` runs before new code starts, `0002_post_<what>.sql` after the old is gone. So a
`pre` one bears that a `post` one before it is still to come: it may wait, and its number is kept until it ran.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, LiteralString

import msgspec
import psycopg

from satchel.database.pool import Connection, Database
from satchel.errors import DatabaseTooNew, StoreBusy

_FOLDER = Path(__file__).with_name("migrations")
_NAME = re.compile(r"^(\d{4})_(pre|post)_\w+\.sql$")
_IN_USE = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
LOCK_WAIT = "2s"
PAUSE_SECONDS = 0.2
PATIENCE_SECONDS = 60.0
_LOCK_KEY = 7_274_311  # any number; one for all migrations, so that two starting processes take turns


async def migrate(database: Database, kind: LiteralString, *, with_post: bool = True) -> int:
    """Bring a database (`control` or `staging`) to this version; returns how many migrations ran.

    Without `post` ones, those wait: old processes go on. In an empty database there are none, and nothing waits.
    Errors: DatabaseTooNew - and nothing is changed; StoreBusy - what ran stays, again goes on.
    """

    async def first(connection: Connection) -> int:
        return await _run(connection, kind, with_post=True) if (await _version(connection))[0] == 0 else 0

    async def next_one(connection: Connection) -> int:
        return await _run(connection, kind, with_post=with_post, at_most=1)

    ran = await _patiently(database, first)
    while await _patiently(database, next_one):
        ran += 1
    return ran


class Lacking(msgspec.Struct, frozen=True):
    """Migrations of this version that have not run on a database."""

    pre: int
    post: int


async def lacking(connection: Connection, kind: LiteralString) -> Lacking:
    """How many have not run; nothing is changed. Errors: UndefinedTable (psycopg) where none ever ran."""
    told = await _told(connection)
    names = [path.name for number, path in _files(kind).items()
             if number > told["number"] or number in told.get("waiting", [])]  # fmt: skip
    post = sum("_post_" in name for name in names)
    return Lacking(len(names) - post, post)


async def _patiently(database: Database, act: Callable[[Connection], Awaitable[int]]) -> int:
    """Act in a transaction of its own: work goes on beside it, and must not wait for it in a circle.

    Who waits for a table keeps everybody after it waiting too, so it waits for a moment only, and tries again.
    """
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            async with database.transaction() as connection:
                await connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK_KEY])
                await connection.execute("select set_config('lock_timeout', %s, true)", [LOCK_WAIT])
                return await act(connection)
        except StoreBusy as error:
            if not isinstance(error.__cause__, _IN_USE) or time.monotonic() > give_up_at:
                raise
        await asyncio.sleep(PAUSE_SECONDS)


async def _run(connection: Connection, kind: str, *, with_post: bool, at_most: int | None = None) -> int:
    """Those that are due, with their numbers; how many."""
    version, waiting = await _version(connection)
    files = _files(kind)
    newest = max(files)
    if version > newest:
        raise DatabaseTooNew(f"The {kind} database has version {version}; this Satchel knows up to {newest}.")
    pending = sorted(number for number in files if number > version or number in waiting)
    due = [number for number in pending if with_post or "_post_" not in files[number].name][:at_most]
    for number in due:
        await connection.execute(files[number].read_bytes())
    if due:
        version = max([version, *due])
        left = [number for number in pending if number not in due and number < version]
        await _note(connection, version, left)
    return len(due)


async def _version(connection: Connection) -> tuple[int, list[int]]:
    """The highest number that ran, and those below it that wait."""
    await connection.execute("create schema if not exists satchel")
    await connection.execute("create table if not exists satchel.version (number integer not null)")
    await connection.execute("insert into satchel.version select 0 where not exists (select from satchel.version)")
    told = await _told(connection)
    return told["number"], told.get("waiting", [])


async def _told(connection: Connection) -> dict[str, Any]:
    """The row as it is: older versions know no numbers that wait."""
    row = await (await connection.execute("select to_jsonb(v) from satchel.version v")).fetchone()
    return row[0] if row else {"number": 0}


async def _note(connection: Connection, version: int, waiting: list[int]) -> None:
    """Keep what ran. The column is made only here: whoever only looks waits for nobody who reads, such as a backup."""
    if "waiting" not in await _told(connection):
        await connection.execute("alter table satchel.version add column waiting integer[] not null default '{}'")
    await connection.execute("update satchel.version set number = %s, waiting = %s", [version, waiting])


def _files(kind: str) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in (_FOLDER / kind).iterdir():
        match = _NAME.match(path.name)
        if match:
            assert int(match[1]) not in found, f"two migrations have the number of {path.name}"  # noqa: S101
            found[int(match[1])] = path
    return found
