"""Reading members: what a device loads, what changed behind its checkpoint, what it must drop. Row ids only - the rows
themselves are rendered from staging, in the same snapshot."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from satchel.database.pool import Connection
from satchel.database.queries import load_queries
from satchel.model.ids import BucketId, OpId

_SQL = load_queries(__file__)


class Tail(msgspec.Struct, frozen=True):
    """What changed in a user's buckets behind a checkpoint."""

    rows: list[tuple[str, int, bool]]
    """Entity, row id, and whether the row is in scope now."""
    op: OpId
    """The position behind these changes."""
    is_complete: bool
    """There are no more behind it."""


class Loaded(msgspec.Struct, frozen=True):
    """Rows of new buckets, and the position behind them."""

    row_ids: list[int]
    bucket: BucketId
    op: OpId
    is_complete: bool


async def lost_rows(
    connection: Connection, *, lost: Sequence[BucketId], held: Sequence[BucketId], checkpoint: OpId
) -> list[tuple[str, int]]:
    """Rows (entity, row id) a device must drop because it lost these buckets and holds them by no other."""
    if not lost:
        return []
    parameters = {"lost": list(lost), "held": list(held), "checkpoint": checkpoint}
    cursor = await connection.execute(_SQL["lost_rows"], parameters)
    return [(entity, row_id) for entity, row_id in await cursor.fetchall()]


async def read_tail(
    connection: Connection, *, held: Sequence[BucketId], bound: Sequence[BucketId], checkpoint: OpId, limit: int
) -> Tail:
    """Changes behind the checkpoint in the held buckets, at most `limit` ops; bound buckets decide what is in scope."""
    if not held:
        return Tail([], checkpoint, is_complete=True)
    parameters = {"held": list(held), "bound": list(bound), "checkpoint": checkpoint, "limit": limit}
    found = await (await connection.execute(_SQL["tail"], parameters)).fetchall()
    if not found:
        return Tail([], checkpoint, is_complete=True)
    rows = [(entity, row_id, is_in_scope) for entity, row_id, is_in_scope, _, _ in found]
    return Tail(rows, OpId(found[0][3]), is_complete=found[0][4] < limit)


class Known(msgspec.Struct, frozen=True):
    """What a device has by other buckets: rows of these, as of `known_at`; the loading began at `began_at`."""

    buckets: Sequence[BucketId]
    known_at: OpId
    began_at: OpId


async def load_buckets(
    connection: Connection, buckets: Sequence[BucketId], *, bucket: BucketId, op: OpId, limit: int, known: Known
) -> Loaded:
    """The next live members of these buckets behind (bucket, op), without those that are known and did not change."""
    parameters = {"buckets": list(buckets), "bucket": bucket, "op": op, "limit": limit}
    if known.buckets:
        parameters |= {"known": list(known.buckets), "known_at": known.known_at, "began_at": known.began_at}
    cursor = await connection.execute(_SQL["load_unknown" if known.buckets else "load"], parameters)
    rows = await cursor.fetchall()
    row_ids = list(dict.fromkeys(row[2] for row in rows))
    if not rows:
        return Loaded([], bucket, op, is_complete=True)
    return Loaded(row_ids, rows[-1][0], rows[-1][1], is_complete=len(rows) < limit)


class ChangedRow(msgspec.Struct, frozen=True):
    """A row that changed, was moved, or went."""

    row_id: int
    entity: str
    touched: frozenset[BucketId]
    """The buckets in which it did."""
    live: frozenset[BucketId]
    """All buckets it is in now."""


async def changed_rows(
    connection: Connection, buckets: Sequence[BucketId], after: OpId, limit: int
) -> list[ChangedRow]:
    """Rows with ops behind `after` in these buckets. Cost: one query, in proportion to the ops."""
    parameters = {"buckets": list(buckets), "after": after, "limit": limit}
    found = await (await connection.execute(_SQL["changed_rows"], parameters)).fetchall()
    return [ChangedRow(row_id, entity, frozenset(touched), frozenset(live)) for row_id, entity, touched, live in found]


async def except_of(connection: Connection, buckets: Sequence[BucketId], entities: Sequence[str]) -> list[BucketId]:
    """These buckets without those of the entities."""
    if not buckets or not entities:
        return list(buckets)
    cursor = await connection.execute(_SQL["except_of"], {"buckets": list(buckets), "entities": list(entities)})
    return [BucketId(row[0]) for row in await cursor.fetchall()]


async def buckets_of_row(connection: Connection, row_id: int) -> list[tuple[int, int, list[str | None]]]:
    """The buckets a row is in: bucket, family, key."""
    cursor = await connection.execute(_SQL["buckets_of_row"], {"row_id": row_id})
    return [(bucket, family, key) for bucket, family, key in await cursor.fetchall()]


async def count_rows(connection: Connection, buckets: Sequence[BucketId]) -> dict[str, int]:
    """How many rows there are in these buckets, by entity; a row in several counts once."""
    cursor = await connection.execute(_SQL["count_rows"], {"buckets": list(buckets)})
    return dict(await cursor.fetchall())


async def entity_sizes(connection: Connection) -> dict[str, int]:
    """About how many rows each staging table has, by table name."""
    return dict(await (await connection.execute(_SQL["entity_sizes"])).fetchall())
