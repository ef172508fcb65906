"""The bucket families of an organization: new ones are made, then filled, then users are bound to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from satchel.database.pool import Connection
from satchel.database.queries import load_queries
from satchel.model.ids import BucketId
from satchel.model.scope import Family

_SQL = load_queries(__file__)


class StandingFamily(msgspec.Struct, frozen=True):
    """A family as the staging database has it."""

    id: int
    entity: str
    name: str
    state: str
    """`filling`, `ready` or `retired`."""


async def standing_families(connection: Connection) -> Mapping[tuple[str, str], StandingFamily]:
    """The families by entity and name."""
    cursor = await connection.execute(_SQL["standing"])
    families = [StandingFamily(*row) for row in await cursor.fetchall()]
    return {(family.entity, family.name): family for family in families}


async def apply_families(connection: Connection, families: Sequence[Family]) -> None:
    """Make the families that are missing (state `filling`), retire the ones no longer in use.

    A retired family keeps its members: they tell which rows a device must drop.
    """
    standing = await standing_families(connection)
    wanted = {(family.entity, family.name) for family in families}
    for entity, name in sorted(wanted):
        known = standing.get((entity, name))
        if known is None or known.state == "retired":
            await connection.execute(_SQL["make"], {"entity": entity, "name": name})
    for key, family in standing.items():
        if key not in wanted and family.state != "retired":
            await connection.execute(_SQL["set_state"], {"id": family.id, "state": "retired"})


async def set_ready(connection: Connection, family_id: int) -> None:
    """Let users be bound to the family."""
    await connection.execute(_SQL["set_state"], {"id": family_id, "state": "ready"})


async def bound_buckets(
    connection: Connection, keys_by_family: Iterable[tuple[Family, Sequence[str]]]
) -> list[tuple[str, BucketId]]:
    """The buckets (entity, bucket) behind these keys, rising by bucket. Cost: two queries, one index probe a key."""
    standing = await standing_families(connection)
    ids: list[int] = []
    keys: list[str] = []
    for family, family_keys in keys_by_family:
        known = standing.get((family.entity, family.name))
        if known is not None:
            ids += [known.id] * len(family_keys)
            keys += family_keys
    if not ids:
        return []
    cursor = await connection.execute(_SQL["bound_buckets"], {"families": ids, "keys": keys})
    return [(entity, BucketId(bucket)) for entity, bucket in await cursor.fetchall()]
