"""Keys compared with the source's: equal where they are the same value, in whatever form the source writes it."""

from __future__ import annotations

import pytest

from satchel.buckets.changed import begin_changes
from satchel.database.pool import Database
from satchel.model.metadata import Attribute, AttributeType, Entity
from satchel.source.envelope import keys_of
from satchel.staging.keys import begin_keys, compare_keys, end_keys, keep_keys
from satchel.staging.rows import stage_rows
from satchel.staging.schema import apply_entity

T = AttributeType
GUID = "2e451703-c686-e711-80e5-00155db19e6d"


def rows(*keys: tuple[str, int]) -> bytes:
    return ("[" + ",".join(f'{{"k": {first}, "line": {line}}}' for first, line in keys) + "]").encode()


def thing(kind: AttributeType) -> Entity:
    attributes = (
        Attribute(name="k", wire_name="k", type=kind, precision=3 if kind is T.DATETIME else None),
        Attribute(name="line", wire_name="line", type=T.INTEGER),
    )
    return Entity(name=f"by_{kind.value}", set_name="things", key=("k", "line"), attributes=attributes)


@pytest.mark.parametrize(
    ("kind", "first", "again", "other"),
    [
        (T.DATETIME, '"2024-01-02T03:04:05Z"', '"2024-01-02T05:04:05.000+02:00"', '"2024-01-02T03:04:06Z"'),
        (T.TIME, '"10:00:00"', '"10:00"', '"10:00:00.5"'),
        (T.DECIMAL, "1.50", "1.5", "1.51"),
        (T.DECIMAL, "1.5", "1.500", "0.0"),
        (T.DOUBLE, "1E20", "100000000000000000000.0", "1e-7"),
        (T.DOUBLE, "0.10", "0.1", "123.0"),
        (T.DOUBLE, "1234567890123456.0", "1234567890123456", "-0.00012345"),
        (T.GUID, f'"{GUID.upper()}"', f'"{GUID}"', f'"{GUID[:-1]}0"'),
        (T.DATE, '"2024-01-02"', '"2024-01-02"', '"2024-01-03"'),
        (T.BIGINT, "9007199254740993", "9007199254740993", "1"),
    ],
    ids=lambda each: each.value if isinstance(each, AttributeType) else "",
)
async def test_one_value_in_two_forms(
    staging: Database, kind: AttributeType, first: str, again: str, other: str
) -> None:
    entity = thing(kind)
    async with staging.transaction() as connection:
        await apply_entity(connection, entity)
        await begin_changes(connection)
        await stage_rows(connection, entity, rows((first, 1), (other, 1)))
    async with staging.connection() as connection:
        await begin_keys(connection, entity)
        there = rows((again, 1), (other, 2))
        await keep_keys(connection, entity, keys_of(there, entity))
        missing, surplus = await compare_keys(connection, entity)
        await end_keys(connection)
    (gone,) = keys_of(rows((other, 1)), entity)
    assert surplus == [gone]
    assert missing == [(gone[0], "2")]
