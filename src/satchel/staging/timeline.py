"""A server that was brought back to an earlier moment, or replaced by a standby that missed the end, goes on with
numbers that devices have seen already, for other changes. PostgreSQL begins another timeline then: so it is noticed.

Source: PostgreSQL documentation, Continuous Archiving and Point-in-Time Recovery, "Timelines"; promoting a standby
begins one too.
"""

from __future__ import annotations

import psycopg
import structlog

from satchel.database.pool import Connection
from satchel.database.queries import load_queries

_SQL = load_queries(__file__)
log = structlog.get_logger()


async def notice_timeline(connection: Connection) -> None:
    """Let cursors of devices start over where the server is on another timeline than the head.

    To be called with each new connection: none outlives the change of a timeline. A database without a head, or one
    that moved away, stays as it is.
    """
    try:
        row = await (await connection.execute(_SQL["is_other"])).fetchone()
        if row is None or not row[0]:
            return
        await connection.execute(_SQL["begin"])
    except (
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedColumn,
        psycopg.errors.InvalidSchemaName,
        psycopg.errors.ReadOnlySqlTransaction,
    ):
        return
    log.warning("database on another timeline: devices start over", database=connection.info.dbname)


async def stamp_timeline(connection: Connection) -> None:
    """The numbers of this database were all given out: they go on on this server's timeline."""
    await connection.execute(_SQL["stamp"])
