"""Numbered migrations, applied in order, each in one transaction with its number.

`migrations/<kind>/0001_pre_<what>.sql` runs before new code starts, `0002_post_<what>.sql` after the old is gone.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import LiteralString

from satchel.database.pool import Connection, Database
from satchel.errors import DatabaseTooNew

_FOLDER = Path(__file__).with_name("migrations")
_NAME = re.compile(r"^(\d{4})_(pre|post)_\w+\.sql$")
_LOCK_KEY = 7_274_311  # any number; one for all migrations, so that two starting processes take turns


async def migrate(database: Database, kind: LiteralString, *, with_post: bool = True) -> int:
    """Bring a database (`control` or `staging`) to this version; returns how many migrations ran.

    Without `post` ones, it ends before the first of them: old processes go on. Errors: DatabaseTooNew - and nothing is
    changed.
    """
    async with database.transaction() as connection:
        await connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK_KEY])
        version = await _version(connection)
        files = _files(kind)
        newest = max(files)
        if version > newest:
            raise DatabaseTooNew(f"The {kind} database has version {version}; this Satchel knows up to {newest}.")
        pending = [number for number in sorted(files) if number > version]
        if not with_post:
            pending = list(itertools.takewhile(lambda number: "_post_" not in files[number].name, pending))
        for number in pending:
            await connection.execute(files[number].read_bytes())
            await connection.execute("update satchel.version set number = %s", [number])
        return len(pending)


async def _version(connection: Connection) -> int:
    await connection.execute("create schema if not exists satchel")
    await connection.execute("create table if not exists satchel.version (number integer not null)")
    await connection.execute("insert into satchel.version select 0 where not exists (select from satchel.version)")
    row = await (await connection.execute("select number from satchel.version")).fetchone()
    return int(row[0]) if row else 0


def _files(kind: str) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in (_FOLDER / kind).iterdir():
        match = _NAME.match(path.name)
        if match:
            assert int(match[1]) not in found, f"two migrations have the number of {path.name}"  # noqa: S101
            found[int(match[1])] = path
    return found
