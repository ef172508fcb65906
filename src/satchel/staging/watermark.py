"""How far each entity was read. A watermark moves in the transaction of the page it stands behind, and only from the
position that page was read behind: of two workers on one pull, one goes on and the other notices."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from satchel.database.pool import Connection
from satchel.errors import PullOvertaken
from satchel.model.changes import Strategy, Watermark


class StoredWatermark(msgspec.Struct, frozen=True, kw_only=True):
    """An entity's row in `satchel.watermark`."""

    watermark: Watermark | None
    version: int
    must_reconcile: bool
    reconciled_at: datetime | None
    strategy: Strategy | None = None
    pulled_at: datetime | None = None
    problem: str | None = None


async def read_watermark(connection: Connection, entity: str) -> StoredWatermark:
    """The entity's watermark; made (empty) where there is none yet."""
    await connection.execute("insert into satchel.watermark (entity) values (%s) on conflict do nothing", [entity])
    cursor = await connection.execute(
        "select watermark, version, must_reconcile, reconciled_at, strategy, pulled_at, problem"
        " from satchel.watermark where entity = %s",
        [entity],
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - made one line above
    return _stored(row)


async def positions(connection: Connection, entities: Iterable[str]) -> dict[str, int]:
    """A number for each of these entities that moves with every page."""
    cursor = await connection.execute(
        "select entity, version from satchel.watermark where entity = any(%s)", [list(entities)]
    )
    return dict(await cursor.fetchall())


async def read_all(connection: Connection) -> dict[str, StoredWatermark]:
    """All watermarks by entity."""
    cursor = await connection.execute(
        "select entity, watermark, version, must_reconcile, reconciled_at, strategy, pulled_at, problem"
        " from satchel.watermark order by entity"
    )
    return {row[0]: _stored(row[1:]) for row in await cursor.fetchall()}


async def never_read(connection: Connection, entities: Iterable[str]) -> set[str]:
    """Which of these were not read to the end since their tables were made."""
    cursor = await connection.execute("select entity from satchel.watermark where pulled_at is not null")
    return set(entities) - {row[0] for row in await cursor.fetchall()}


async def being_read(connection: Connection, entities: Iterable[str]) -> set[str]:
    """Which of these are to be read in full, and are not at the end of it."""
    found = set()
    for name, stored in (await read_all(connection)).items():
        position = stored.watermark
        is_under_way = position is None or (position.is_full_read and position.next_page is not None)
        if name in entities and stored.pulled_at is not None and is_under_way:
            found.add(name)
    return found


async def generations(connection: Connection) -> dict[str, str]:
    """Which life of its table each entity is in: rows of an earlier one are swept from devices."""
    cursor = await connection.execute("select entity, generation from satchel.watermark")
    return dict(await cursor.fetchall())


async def advance(connection: Connection, entity: str, watermark: Watermark, *, version: int, is_last: bool) -> int:
    """Store the position after a page, in the page's transaction; returns the new version.

    Errors: PullOvertaken - another worker applied a page since this one read the watermark.
    """
    cursor = await connection.execute(
        "update satchel.watermark set watermark = %s, version = version + 1, strategy = %s, problem = null,"
        " pulled_at = case when %s then now() else pulled_at end,"
        " must_reconcile = must_reconcile or %s where entity = %s and version = %s",
        [
            msgspec.json.encode(watermark).decode(),
            watermark.strategy.value,
            is_last,
            is_last and watermark.is_full_read,
            entity,
            version,
        ],
    )
    if cursor.rowcount != 1:
        raise PullOvertaken(entity=entity)
    return version + 1


async def start_over(connection: Connection, entity: str, *, version: int) -> int:
    """Forget the position: the next read is a full one, with reconciliation. Returns the new version."""
    cursor = await connection.execute(
        "update satchel.watermark set watermark = null, version = version + 1, must_reconcile = true"
        " where entity = %s and version = %s",
        [entity, version],
    )
    if cursor.rowcount != 1:
        raise PullOvertaken(entity=entity)
    return version + 1


async def reconciled(connection: Connection, entity: str) -> None:
    """Note that the entity's keys equal the source's."""
    await connection.execute(
        "update satchel.watermark set must_reconcile = false, reconciled_at = now() where entity = %s", [entity]
    )


async def note_problem(connection: Connection, entity: str, problem: str) -> None:
    """Keep the reason why the last pull did not end well; the next good page clears it."""
    await connection.execute("update satchel.watermark set problem = %s where entity = %s", [problem[:500], entity])


def _stored(row: tuple[object, ...]) -> StoredWatermark:
    text, version, must_reconcile, reconciled_at, strategy, pulled_at, problem = row
    return msgspec.convert(
        {
            "watermark": msgspec.json.decode(str(text), type=Watermark) if text else None,
            "version": version,
            "must_reconcile": must_reconcile,
            "reconciled_at": reconciled_at,
            "strategy": strategy,
            "pulled_at": pulled_at,
            "problem": problem,
        },
        StoredWatermark,
    )
