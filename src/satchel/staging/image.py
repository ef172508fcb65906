"""One staged row as devices have it: wire values by attribute, with what only the server knows of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from psycopg import sql

from satchel.database.columns import key_columns, postgres_type, row_json, table, version
from satchel.database.pool import Connection
from satchel.model.ids import Key
from satchel.model.metadata import Entity


class Image(msgspec.Struct, frozen=True):
    """A staged row."""

    row_id: int
    is_live: bool
    """False: it was there, and is gone."""
    etag: str | None
    version: str
    """The ETag; of a row without one a hash of its content."""
    values: dict[str, Any]


async def read_image(connection: Connection, entity: Entity, attributes: Sequence[str], key: Key) -> Image | None:
    """The row with this key; None: it was never staged. The key's parts must fit their types. Cost: one query."""
    statement = _statement(msgspec.json.encode(entity), tuple(attributes))
    row = await (await connection.execute(statement, list(key))).fetchone()
    if row is None:
        return None
    row_id, is_live, etag, version, text = row
    return Image(row_id, is_live, etag, version, dict(zip(attributes, msgspec.json.decode(text), strict=True)))


async def is_member(connection: Connection, row_id: int, buckets: Sequence[int]) -> bool:
    """The row is in one of these buckets."""
    row = await (
        await connection.execute(
            "select exists (select from satchel.member where row_id = %s and is_live and bucket = any(%s))",
            [row_id, list(buckets)],
        )
    ).fetchone()
    return bool(row and row[0])


@lru_cache(maxsize=512)
def _statement(entity_json: bytes, attributes: tuple[str, ...]) -> sql.Composed:
    entity = msgspec.json.decode(entity_json, type=Entity)
    same = [
        sql.SQL("{} = %s::{}").format(name, postgres_type(entity.attribute_by_name[attribute]))
        for name, attribute in zip(key_columns(entity, of="t"), entity.key, strict=True)
    ]
    return sql.SQL("select t._row, t._live, t._etag, {}, {} from {} t where {}").format(
        version(entity, of="t"), row_json(entity, attributes, of="t"), table(entity.name), sql.SQL(" and ").join(same)
    )
