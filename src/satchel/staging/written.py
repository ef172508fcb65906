"""Rows written through after an edit, and how they and pages of the source do not overwrite each other's newer state.

A page that was asked for before a row was written through does not count for that row, and what was written does not
count where a page changed the row since the edit was judged: such rows are noted, and asked for once more. Whoever
compares and stages does both under the entity's lock, so that neither can slip between the other's two steps.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec
from psycopg import sql

from satchel.database.columns import key_columns, key_parts, postgres_type, table, version
from satchel.database.pool import Connection
from satchel.model.ids import Key
from satchel.model.metadata import Entity

_KEEP_DAYS = 7
_LOCKS = 7_240_003


async def lock_entities(connection: Connection, entities: Collection[str]) -> None:
    """Be the only one who stages rows of these entities until the end of the transaction.

    Order: before any row and before the write lock; sorted, so that nobody waits in a circle.
    """
    await connection.execute(
        "select pg_advisory_xact_lock(%s, place) from"
        " (select distinct hashtext(name) as place from unnest(%s::text[]) as name order by 1) as places",
        [_LOCKS, sorted(entities)],
    )


async def writes_now(connection: Connection) -> int:
    """The number of the newest write-through: what is read from the source from now on has everything up to it."""
    row = await (await connection.execute("select writes from satchel.head")).fetchone()
    return int(row[0]) if row else 0


async def written_since(connection: Connection, entity: str, number: int) -> set[Key]:
    """The rows of an entity that were written through after that number."""
    cursor = await connection.execute(
        "select key from satchel.written where entity = %s and number > %s", [entity, number]
    )
    return {tuple(row[0]) for row in await cursor.fetchall()}


async def executed_lately(
    connection: Connection, rows: Collection[tuple[str, Key]], *, seconds: float
) -> dict[tuple[str, Key], float]:
    """Which of these rows an edit has changed at the source in the last so many seconds, and how long ago."""
    cursor = await connection.execute(
        "select w.entity, w.key, extract(epoch from clock_timestamp() - w.executed_at)::float from satchel.written w"
        " where w.executed_at > now() - make_interval(secs => %s) and (w.entity, w.key) in (select r.entity, array("
        "select jsonb_array_elements_text(r.key::jsonb)) from unnest(%s::text[], %s::text[]) as r (entity, key))",
        [seconds, [entity for entity, _ in rows], [msgspec.json.encode(key).decode() for _, key in rows]],
    )
    return {(entity, tuple(key)): age for entity, key, age in await cursor.fetchall()}


async def note_written(connection: Connection, rows: Sequence[tuple[str, Key]], *, by_edit: bool = False) -> None:
    """Note rows that are written through in this transaction, under the write lock. `by_edit`: the source had them
    changed by an edit, before this transaction began."""
    await connection.execute("update satchel.head set writes = writes + 1")
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "insert into satchel.written (entity, key, number, executed_at)"
            " select %s, %s, writes, case when %s then now() end from satchel.head"
            " on conflict (entity, key) do update set number = excluded.number, written_at = now(),"
            " executed_at = coalesce(excluded.executed_at, written.executed_at)",
            [(entity, list(key), by_edit) for entity, key in rows],
        )


async def note_unsettled(connection: Connection, entity: str, keys: Collection[Key]) -> None:
    """Note rows that are to be asked for once more."""
    if keys:
        async with connection.cursor() as cursor:
            await cursor.executemany(
                "insert into satchel.unsettled_row (entity, key) values (%s, %s)"
                " on conflict (entity, key) do update set noted_at = clock_timestamp()",
                [(entity, list(key)) for key in sorted(keys)],
            )


async def unsettled(connection: Connection, entity: str | None = None, *, limit: int = 100) -> dict[str, list[Key]]:
    """Rows to be asked for once more, by entity."""
    cursor = await connection.execute(
        "select entity, key from satchel.unsettled_row"
        " where %(entity)s::text is null or entity = %(entity)s limit %(n)s",
        {"entity": entity, "n": limit},
    )
    return _by_entity(await cursor.fetchall())


async def noted_among(connection: Connection, rows: Collection[tuple[str, Key]]) -> dict[str, list[Key]]:
    """Those of these rows (entity, key) that are to be asked for once more, by entity."""
    cursor = await connection.execute(
        "select entity, key from satchel.unsettled_row where (entity, key) in (select r.entity, array("
        "select jsonb_array_elements_text(r.key::jsonb)) from unnest(%s::text[], %s::text[]) as r (entity, key))",
        [[entity for entity, _ in rows], [msgspec.json.encode(key).decode() for _, key in rows]],
    )
    return _by_entity(await cursor.fetchall())


async def asked_now(connection: Connection) -> datetime:
    """The database's time before rows are asked for."""
    row = await (await connection.execute("select clock_timestamp()")).fetchone()
    assert row is not None  # noqa: S101 - a constant
    moment: datetime = row[0]
    return moment


async def settle_rows(connection: Connection, entity: str, keys: Collection[Key], asked_at: datetime) -> None:
    """These rows were asked for; part of the transaction that stages them. What was noted since stays noted."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "delete from satchel.unsettled_row where entity = %s and key = %s and noted_at <= %s",
            [(entity, list(key), asked_at) for key in keys],
        )


async def forget_old(connection: Connection) -> None:
    """Drop notes that no read under way can need any more."""
    await connection.execute(
        "delete from satchel.written where written_at < now() - make_interval(days => %s)", [_KEEP_DAYS]
    )


async def read_versions(
    connection: Connection, entity: Entity, keys: Collection[Key], *, is_locked: bool = False
) -> dict[Key, str | None]:
    """The ETags of those of these rows that are there, by key; a row without one has its content's hash.

    `is_locked`: they stay as they are until the end of the transaction.
    """
    if not keys:
        return {}
    own = sql.SQL("array[{}]").format(sql.SQL(", ").join(key_parts(entity, of="t")))
    typed = sql.SQL(" or ").join([_is_key(entity)] * len(keys))
    statement = sql.SQL("select {own}, {version} from {table} t where t._live and ({typed}) order by 1{lock}")
    cursor = await connection.execute(
        statement.format(
            own=own,
            version=version(entity, of="t"),
            table=table(entity.name),
            typed=typed,
            lock=sql.SQL(" for update of t" if is_locked else ""),
        ),
        [part for key in keys for part in key],
    )
    return {tuple(key): version for key, version in await cursor.fetchall()}


def _by_entity(rows: Collection[tuple[str, list[str]]]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for name, key in rows:
        found.setdefault(name, []).append(tuple(key))
    return found


def _is_key(entity: Entity) -> sql.Composed:
    return sql.SQL("({})").format(
        sql.SQL(" and ").join(
            sql.SQL("{} = %s::{}").format(name, postgres_type(entity.attribute_by_name[attribute]))
            for name, attribute in zip(key_columns(entity, of="t"), entity.key, strict=True)
        )
    )
