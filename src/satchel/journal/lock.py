"""One process at a time plays an organization's edits: an advisory lock of its staging database."""

from __future__ import annotations

from satchel.database.pool import Connection

_LOCK = 7_240_002


async def try_playing(connection: Connection) -> bool:
    """Be the only one until `end_playing`, or until the connection ends."""
    row = await (await connection.execute("select pg_try_advisory_lock(%s)", [_LOCK])).fetchone()
    return bool(row and row[0])


async def end_playing(connection: Connection) -> None:
    """Let others play."""
    await connection.execute("select pg_advisory_unlock(%s)", [_LOCK])
