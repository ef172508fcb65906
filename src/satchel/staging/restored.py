"""A staging database that came from a backup begins another life."""

from __future__ import annotations

from psycopg import sql

from satchel.database.pool import Connection
from satchel.staging.timeline import stamp_timeline

_STATEMENTS = (
    # What devices were told since, nobody knows here: their edits that are not settled come again, from themselves.
    # Those of the backup are set aside: most were executed since, and must not be once more.
    "create table if not exists satchel.set_aside_edit_set (set_aside_at timestamptz not null, content jsonb not null)",
    "insert into satchel.set_aside_edit_set"
    " select now(), to_jsonb(s) from satchel.edit_set s where state in ('waiting', 'sending')",
    "delete from satchel.edit_set where state in ('waiting', 'sending')",
    # Devices and edits wait until every entity was read to the end once more.
    "update satchel.watermark set pulled_at = null",
    # Images are in no backup: they are sealed anew.
    "delete from satchel.snapshot",
    "delete from satchel.sealing",
)


async def begin_another_life(connection: Connection, epoch: str, backup: str) -> None:
    """Cursors of devices start over, edits under way are set aside, everything is read once more. `backup` is noted.

    Order: the caller's transaction, in which the rows were put in.
    """
    await connection.execute("update satchel.head set epoch = %s", [epoch])
    await stamp_timeline(connection)
    for statement in _STATEMENTS:
        await connection.execute(statement)
    await connection.execute(sql.SQL("comment on schema satchel is {}").format(sql.Literal(backup)))
