"""The bucket families of an organization: new ones are made, then filled, then users are bound to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
    """`filling` or `ready`."""
    position: int
    """The last row that was filled in."""


async def standing_families(connection: Connection) -> Mapping[str, StandingFamily]:
    """The families in use, by name."""
    cursor = await connection.execute(_SQL["standing"])
    families = [StandingFamily(*row) for row in await cursor.fetchall()]
    return {family.name: family for family in families}


async def family_ids(connection: Connection) -> Mapping[str, int]:
    """The ids of the families in use, by name."""
    return {name: family.id for name, family in (await standing_families(connection)).items()}


class BucketKey(msgspec.Struct, frozen=True):
    """A bucket of a family, by name, and its key."""

    family: str
    key: tuple[str | None, ...]


async def read_buckets(connection: Connection, buckets: Iterable[BucketId]) -> dict[BucketId, BucketKey]:
    """Families and keys of those of the buckets that are there."""
    cursor = await connection.execute(_SQL["buckets"], {"buckets": sorted(buckets)})
    return {BucketId(bucket): BucketKey(family, tuple(key)) for bucket, family, key in await cursor.fetchall()}


async def make_families(connection: Connection, families: Iterable[Family]) -> None:
    """Make the families that are missing, to be filled."""
    for family in families:
        await connection.execute(_SQL["make"], {"entity": family.entity, "name": family.name})


async def make_temporary_family(connection: Connection, family: Family) -> int:
    """Make a family of a transaction that is rolled back; nobody who makes the same one waits for it."""
    cursor = await connection.execute(_SQL["make_temporary"], {"entity": family.entity})
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - its name is new
    return int(row[0])


async def retire_families(connection: Connection, kept: Iterable[Family]) -> None:
    """Retire the families that are not kept: devices drop what they hold by them alone."""
    names = {family.name for family in kept}
    for name, standing in (await standing_families(connection)).items():
        if name not in names:
            await connection.execute(_SQL["retire"], {"id": standing.id})


async def try_publishing(connection: Connection) -> bool:
    """Be the only one that fills families of this database, until `end_publishing` or the connection's end."""
    row = await (await connection.execute(_SQL["try_publishing"])).fetchone()
    return bool(row and row[0])


async def end_publishing(connection: Connection) -> None:
    """Let others fill families."""
    await connection.execute(_SQL["end_publishing"])


async def set_ready(connection: Connection, family_id: int) -> None:
    """Note that the family is filled."""
    await connection.execute(_SQL["set_ready"], {"id": family_id})


async def set_position(connection: Connection, family_id: int, position: int) -> None:
    """Note how far the family is filled; part of the transaction that filled it so far."""
    await connection.execute(_SQL["set_position"], {"id": family_id, "position": position})
