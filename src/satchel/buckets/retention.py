"""How long what is gone is remembered: tombstones and retired families, until no good cursor can need them."""

from __future__ import annotations

from datetime import datetime

from psycopg import sql

from satchel.database.columns import table
from satchel.database.pool import Connection
from satchel.database.queries import load_queries
from satchel.model.ids import OpId

_SQL = load_queries(__file__)


async def raise_floor(connection: Connection, now: datetime, until: datetime) -> OpId:
    """Note where the head stands now, and raise the floor to where it stood at `until`; returns the floor.

    Order: committed before anything is dropped, so that whoever misses a tombstone sees the floor.
    """
    await connection.execute(_SQL["note_op"], {"now": now})
    row = await (await connection.execute(_SQL["raise_floor"], {"until": until})).fetchone()
    assert row is not None  # noqa: S101 - made with the database
    await connection.execute(_SQL["forget_times"], {"floor": row[0]})
    return OpId(row[0])


async def drop_tombstones(connection: Connection, floor: OpId, limit: int) -> int:
    """Drop tombstones up to the floor, oldest first, but for those that images of buckets need; returns how many."""
    return (await connection.execute(_SQL["drop_tombstones"], {"floor": floor, "limit": limit})).rowcount


async def drop_families(connection: Connection, floor: OpId) -> int:
    """Drop one family that was retired before the floor, with its members; returns how many were."""
    return (await connection.execute(_SQL["drop_families"], {"floor": floor})).rowcount


async def drop_buckets(connection: Connection) -> int:
    """Drop buckets without members. Order: under the write lock, so that no row comes meanwhile."""
    return (await connection.execute(_SQL["drop_buckets"])).rowcount


async def drop_rows(connection: Connection, entity: str) -> int:
    """Drop removed rows that no tombstone speaks of any more. Order: under the write lock."""
    statement = sql.SQL(
        "delete from {} t where not t._live and not exists (select from satchel.member m where m.row_id = t._row)"
    )
    return (await connection.execute(statement.format(table(entity)))).rowcount
