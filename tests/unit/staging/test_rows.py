"""A page becomes staged rows: what differs is changed, what repeats counts once, what is broken is set aside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from satchel.buckets.changed import begin_changes
from satchel.database.pool import Database
from satchel.model.metadata import Attribute, AttributeType, Entity
from satchel.staging.render import render_keys, render_rows
from satchel.staging.rows import remove_rows, stage_rows, unusable_count
from satchel.staging.schema import apply_entity

T = AttributeType
LONG = "_parentcustomerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"
KEY = "11111111-1111-4111-8111-111111111111"
THING = Entity(
    name="thing",
    set_name="things",
    key=("id",),
    attributes=tuple(
        Attribute(name=name, wire_name=wire, type=kind, precision=precision)
        for name, wire, kind, precision in [
            ("id", "id", T.GUID, None),
            ("name", "name", T.STRING, None),
            ("amount", "amount", T.MONEY, None),
            ("big", "big", T.BIGINT, None),
            ("ratio", "ratio", T.DOUBLE, None),
            ("yes", "yes", T.BOOLEAN, None),
            ("day", "day", T.DATE, None),
            ("moment", "moment", T.DATETIME, 3),
            ("fine", "fine", T.DATETIME, 7),
            ("clock", "clock", T.TIME, None),
            ("odd", "odd", T.TEXT, None),
            ("customertype", LONG, T.STRING, None),
            ("_row", "_row", T.INTEGER, None),
        ]
    ),
)


async def stage(database: Database, *rows: dict[str, Any], entity: Entity = THING, text: bytes | None = None) -> int:
    async with database.transaction() as connection:
        await begin_changes(connection)
        return await stage_rows(connection, entity, text or json.dumps(rows).encode())


async def rendered(database: Database, entity: Entity = THING) -> list[list[Any]]:
    async with database.connection() as connection:
        ids = [
            row[0] for row in await (await connection.execute(f'select _row from staging."{entity.name}"')).fetchall()
        ]
        lines = await render_rows(connection, entity, [a.name for a in entity.attributes], ids, rows_per_line=100)
    found: list[list[Any]] = json.loads("[" + ",".join(text for _, text in lines) + "]")
    return found


@pytest.fixture
async def database(staging: Database) -> Database:
    async with staging.transaction() as connection:
        await apply_entity(connection, THING)
    return staging


async def test_every_type_travels_exactly(database: Database) -> None:
    row = {
        "id": KEY, "name": 'Ann "A" \\ ü 🌹', "amount": "AMOUNT", "big": 9223372036854775807, "ratio": 0.1,
        "yes": True, "day": "1980-02-29", "moment": "2026-11-23T15:35:08.862Z", "fine": "2026-11-23T15:35:08.8621234Z",
        "clock": "08:00:00", "odd": {"a": [1, None]}, LONG: "account", "_row": 7,
    }  # fmt: skip
    text = json.dumps([row]).replace('"AMOUNT"', "1234567890123456.10").encode()

    await stage(database, text=text)

    assert await rendered(database) == [
        [
            KEY, row["name"], "1234567890123456.10", 9223372036854775807, 0.1, True, "1980-02-29",
            "2026-11-23T15:35:08.862Z", "2026-11-23T15:35:08.8621234Z", "08:00:00", '{"a": [1, null]}', "account", 7,
        ]
    ]  # fmt: skip


async def test_a_name_that_postgresql_would_cut_off_is_read(database: Database) -> None:
    await stage(database, {"id": KEY, "name": f'"{LONG}"', LONG: "contact"})

    row = (await rendered(database))[0]
    assert row[11] == "contact"
    assert row[1] == f'"{LONG}"'


async def test_only_what_differs_counts_as_changed(database: Database) -> None:
    row = {"@odata.etag": 'W/"1"', "id": KEY, "name": "Ann"}

    assert await stage(database, row) == 1
    assert await stage(database, row) == 0
    assert await stage(database, {**row, "@odata.etag": 'W/"2"'}) == 0
    assert (await database.fetch("select _etag from staging.thing"))[0][0] == 'W/"2"'
    assert await stage(database, {**row, "name": "Bea"}) == 1


async def test_a_row_that_comes_twice_counts_once_and_the_last_one_wins(database: Database) -> None:
    assert await stage(database, {"id": KEY, "name": "first"}, {"id": KEY, "name": "last"}) == 1
    assert (await rendered(database))[0][1] == "last"


async def test_a_removed_row_keeps_its_key_and_may_come_again(database: Database) -> None:
    await stage(database, {"id": KEY, "name": "Ann"})
    async with database.transaction() as connection:
        await begin_changes(connection)
        assert await remove_rows(connection, THING, [(KEY,), ("22222222-2222-4222-8222-222222222222",)]) == 1
    assert await rendered(database) == []
    async with database.connection() as connection:
        ids = [row[0] for row in await (await connection.execute("select _row from staging.thing")).fetchall()]
        assert await render_keys(connection, THING, ids) == [f'"{KEY}"']
    assert (await database.fetch("select name from staging.thing"))[0][0] is None

    assert await stage(database, {"id": KEY, "name": "again"}) == 1
    assert len(await rendered(database)) == 1


async def test_a_row_that_cannot_be_staged_is_set_aside_and_the_others_go_on(database: Database) -> None:
    good = [{"id": f"0000000{n}-1111-4111-8111-111111111111", "name": "good"} for n in range(9)]
    bad = {"id": KEY, "day": "the day after tomorrow"}

    assert await stage(database, *good[:4], bad, *good[4:]) == 9
    async with database.connection() as connection:
        assert await unusable_count(connection, "thing") == 1
    assert "tomorrow" not in (await database.fetch("select reason from satchel.unusable_row"))[0][0]


async def test_a_nul_character_does_not_stop_a_page(database: Database) -> None:
    text = json.dumps([{"id": KEY, "name": "a\x00b\\u0000"}]).encode()

    await stage(database, text=text)

    assert (await rendered(database))[0][1] == "a\ufffdb\\u0000"


async def test_a_wide_entity_is_rendered_in_one_array(staging: Database) -> None:
    names = [f"c{n}" for n in range(230)]
    texts = [Attribute(name=name, wire_name=name, type=T.STRING) for name in names]
    attributes = (Attribute(name="id", wire_name="id", type=T.GUID), *texts)
    wide = Entity(name="wide", set_name="wides", key=("id",), attributes=attributes)
    async with staging.transaction() as connection:
        await apply_entity(connection, wide)

    await stage(staging, {"id": KEY, "c0": "[x]", "c89": "[", "c229": "]"}, entity=wide)

    row = (await rendered(staging, wide))[0]
    assert len(row) == 231
    assert (row[1], row[90], row[230]) == ("[x]", "[", "]")


async def test_an_added_attribute_changes_the_table_in_place_and_asks_for_a_new_read(database: Database) -> None:
    await stage(database, {"id": KEY, "name": "Ann"})
    more = Attribute(name="more", wire_name="more", type=T.STRING)
    wider = Entity(name="thing", set_name="things", key=("id",), attributes=(*THING.attributes, more))

    async with database.transaction() as connection:
        assert await apply_entity(connection, wider) is True
        assert await apply_entity(connection, wider) is False
    assert (await rendered(database, wider))[0][-1] is None


async def test_a_changed_type_rebuilds_the_table(database: Database) -> None:
    await stage(database, {"id": KEY, "name": "Ann"})
    attributes = tuple(
        Attribute(name="name", wire_name="name", type=T.INTEGER) if a.name == "name" else a for a in THING.attributes
    )

    async with database.transaction() as connection:
        assert await apply_entity(
            connection, Entity(name="thing", set_name="things", key=("id",), attributes=attributes)
        )
    assert (await database.fetch("select count(*) from staging.thing"))[0][0] == 0


async def test_text_compares_without_case_beyond_ascii(staging: Database) -> None:
    assert await staging.fetch("select lower('ÄÖÜ É') = 'äöü é'") == [(True,)]
