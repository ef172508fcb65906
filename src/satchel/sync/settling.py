"""What a sync server reads when users may be bound to other buckets: about all who wait, in a few statements."""

from __future__ import annotations

from satchel.buckets.families import read_buckets, standing_families
from satchel.database.pool import Connection
from satchel.staging.head import read_head, read_scopes
from satchel.staging.watermark import generations
from satchel.sync.standing import Standing


async def settle(connection: Connection, standing: Standing) -> None:
    """Read the users who wait, and the keys of new buckets, as of the connection's snapshot; wake those whom the
    outcome concerns.

    Cost: five statements, and up to nine for each 500 users where principals changed.
    """
    head, scopes = await read_head(connection), await read_scopes(connection)
    standing.take(head)
    families = await standing_families(connection)
    ground = (
        scopes.version,
        frozenset((family.id, family.state) for family in families.values()),
        frozenset((await generations(connection)).items()),
    )
    await standing.users.settle(connection, head, scopes.in_force, ground, standing.take_strangers())
    asked = standing.unread_buckets()
    standing.learn(scopes.in_force, asked, await read_buckets(connection, asked) if asked else {})
    await standing.wake_concerned()
