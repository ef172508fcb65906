"""Publishing: pages under way fit in, the switch is at once, and what a device has does not come again."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from satchel.database.pool import Database
from satchel.errors import PullOvertaken, StoreBusy
from satchel.jobs.apply import apply_page
from satchel.jobs.publish import bring_into_force, prepare
from satchel.jobs.pull import pull
from satchel.model.changes import Page, SourceInfo, Strategy, Watermark
from satchel.model.ids import Key
from satchel.model.metadata import Entity, Metadata
from satchel.staging.head import make_head, read_scope, read_scopes
from tests.support.field_organization import METADATA, StagedOrganization, compiled, item, profile
from tests.support.line_device import LineDevice

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OWNER, UNIT = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
USER_ROW = {"id": OWNER, "name": "Ann", "unit": UNIT, "disabled": False}


def contact(name: str, **values: Any) -> dict[str, Any]:
    key = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
    return {"id": key, "name": name, "owner": OWNER, "unit": UNIT, "status": 1, "account": None, "due": None, **values}


ROWS = [contact(f"c{number:02}") for number in range(20)]


class SlowSource:
    """A source whose only page waits until the test lets it go."""

    def __init__(self) -> None:
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def check(self) -> SourceInfo:
        return SourceInfo(kind="odata", description="slow")

    async def metadata(self, detailed: frozenset[str] = frozenset()) -> Metadata:
        return METADATA

    async def changes(self, entity: Entity, watermark: Watermark | None, page_size: int) -> AsyncIterator[Page]:
        self.is_asked.set()
        await self.may_answer.wait()
        position = Watermark(strategy=Strategy.DELTA_LINK, position="next")
        rows = json.dumps(ROWS[:1]).encode()
        yield Page(rows=rows, row_count=1, watermark=position, is_last=True)

    async def keys(self, entity: Entity, page_size: int) -> AsyncIterator[Sequence[Key]]:
        yield [(ROWS[0]["id"],)]

    async def rows(self, entity: Entity, keys: Sequence[Key]) -> Page:
        return Page(rows=b"[]", row_count=0, watermark=Watermark(strategy=Strategy.DELTA_LINK), is_last=True)

    async def aclose(self) -> None:
        return None


async def standing(database: Database, text: str) -> StagedOrganization:
    staged = StagedOrganization(database)
    await staged.make(compiled(text), NOW)
    await staged.change("user", [USER_ROW])
    return staged


async def test_a_page_under_way_while_the_profile_changes_reaches_the_new_family(staging: Database) -> None:
    staged = await standing(staging, profile(item("contact", rows=["own"])))
    source = SlowSource()
    work = msgspec.structs.replace(staged.work, source=source)
    pulling = asyncio.ensure_future(pull(work, "contact"))
    await source.is_asked.wait()
    await staged.publish(compiled(profile(item("contact", rows=["unit"]))), NOW)
    source.may_answer.set()
    await pulling

    members = await staging.fetch(
        "select b.key from satchel.member m join satchel.bucket b on b.id = m.bucket"
        " join satchel.family f on f.id = b.family where m.is_live and f.state = 'ready'"
    )
    assert members == [([UNIT],)]


async def test_rows_that_a_device_has_do_not_come_again_when_a_profile_changes(staging: Database) -> None:
    staged = await standing(staging, profile(item("contact", rows=["own"])))
    await staged.change("contact", ROWS)
    device = LineDevice(OWNER)
    await device.sync(staging)
    assert (len(device.rows["contact"]), device.rows_put) == (20, 20)

    away = [{**row, "status": 2} for row in ROWS[:3]]
    await staged.change("contact", away)
    await device.sync(staging)
    device.rows_put = 0
    await staged.publish(compiled(profile(item("contact", rows=["unit"], filter="status eq 1"))), NOW)
    await device.sync(staging)
    assert (len(device.rows["contact"]), device.rows_put) == (17, 0)

    await staged.change("contact", [{**ROWS[5], "name": "renamed before"}])
    await staged.publish(compiled(profile(item("contact", rows=["own", "unit"]))), NOW)
    await staged.change("contact", [{**ROWS[6], "name": "renamed after"}])
    await device.sync(staging)
    assert (len(device.rows["contact"]), device.rows_put) == (20, 5)
    assert device.rows["contact"][ROWS[5]["id"]]["name"] == "renamed before"
    assert device.rows["contact"][ROWS[6]["id"]]["name"] == "renamed after"


async def test_a_published_filter_sends_only_its_own_entity_again(staging: Database) -> None:
    items = item("product", rows=["all"]), item("account", rows=["own"])
    staged = await standing(staging, profile(item("contact", rows=["own"]), *items))
    await staged.change("contact", ROWS)
    await staged.change("product", [{"code": "p", "size": number, "name": "n"} for number in range(30)])
    device = LineDevice(OWNER)
    await device.sync(staging)
    device.rows_put = 0

    await staged.publish(compiled(profile(item("contact", rows=["own"], columns=["id", "name"]), *items)), NOW)
    await device.sync(staging)

    assert device.rows_put == len(ROWS)  # other columns: the rows of that entity, and of no other
    assert device.columns["contact"] == {"id", "name"}


async def test_until_all_is_read_and_filled_devices_get_what_is_in_force(staging: Database) -> None:
    staged = await standing(staging, profile(item("contact", rows=["own"], columns=["name"])))
    await staged.change("contact", ROWS)
    device = LineDevice(OWNER)
    await device.sync(staging)
    wanted = compiled(profile(item("contact", rows=["own"], columns=["name", "status"], filter="status eq 1")))

    assert await prepare(staged.work, wanted, NOW)
    assert not await bring_into_force(staged.work)  # `status` is not staged yet
    await device.sync(staging)
    assert device.columns["contact"] == {"id", "name"}
    assert len(device.rows["contact"]) == 20

    await staged.change("contact", ROWS[:10])
    await staged.change("contact", [{**row, "status": 5} for row in ROWS[10:]])
    await staged.read_to_the_end()
    assert await bring_into_force(staged.work)
    await device.sync(staging)
    assert len(device.rows["contact"]) == 10
    assert all(row["status"] == 1 for row in device.rows["contact"].values())


async def test_a_page_asked_for_with_fewer_columns_is_refused(staging: Database) -> None:
    """Else the entity would count as read, with nothing in its new columns."""
    staged = await standing(staging, profile(item("contact", rows=["own"], columns=["name"])))
    before = (await staged.scope()).entity_by_name["contact"]
    wider = compiled(profile(item("contact", rows=["own"], columns=["name", "status"])))
    assert await prepare(staged.work, wider, NOW)
    position = Watermark(strategy=Strategy.DELTA_LINK, position="next")
    page = Page(rows=json.dumps(ROWS).encode(), row_count=len(ROWS), watermark=position, is_last=True)
    with pytest.raises(PullOvertaken):
        async with staging.transaction() as connection:
            await apply_page(connection, before, page)
    async with staging.transaction() as connection:
        await apply_page(connection, (await staged.scope()).entity_by_name["contact"], page)


async def test_a_column_that_comes_back_is_read_again(staging: Database) -> None:
    wide = compiled(profile(item("contact", rows=["own"], columns=["name", "status"])))
    narrow = compiled(profile(item("contact", rows=["own"], columns=["name"])))
    staged = await standing(staging, profile(item("contact", rows=["own"], columns=["name", "status"])))
    await staged.change("contact", ROWS)
    device = LineDevice(OWNER)
    await staged.publish(narrow, NOW)
    await staged.change("contact", [{**row, "status": 7} for row in ROWS])  # nobody asks for it now
    assert await prepare(staged.work, wide, NOW)
    assert not await bring_into_force(staged.work)
    await staged.change("contact", [{**row, "status": 7} for row in ROWS])
    await staged.read_to_the_end()
    assert await bring_into_force(staged.work)
    await device.sync(staging)
    assert {row["status"] for row in device.rows["contact"].values()} == {7}


async def test_publishing_back_and_forth_ends_where_it_began(staging: Database) -> None:
    first, second = profile(item("contact", rows=["own"])), profile(item("contact", rows=["unit"]))
    staged = await standing(staging, first)
    await staged.change("contact", ROWS)
    device = LineDevice(OWNER)
    await device.sync(staging)
    for text, rows in ((second, ROWS[1:]), (first, ROWS[2:]), (second, ROWS[3:])):
        await staged.publish(compiled(text), NOW)
        await staged.change("contact", removed=[(ROWS[ROWS.index(rows[0]) - 1]["id"],)])
    await device.sync(staging)

    assert device.rows["contact"].keys() == {row["id"] for row in ROWS[3:]}


async def test_a_copy_that_was_never_read_takes_nothing_away(staging: Database) -> None:
    """A device that comes to a staging database made anew waits until it is complete."""
    staged = StagedOrganization(staging)
    async with staging.transaction() as connection:
        await make_head(connection, "epoch")
    await prepare(staged.work, compiled(profile(item("contact", rows=["own"]))), NOW)
    with pytest.raises(StoreBusy):
        await LineDevice(OWNER).sync(staging)


async def test_a_user_who_is_gone_keeps_nothing(staging: Database) -> None:
    staged = await standing(staging, profile(item("contact", rows=["own"])))
    await staged.change("contact", ROWS)
    device = LineDevice(OWNER)
    await device.sync(staging)
    await staged.change("user", removed=[(OWNER,)])
    await device.sync(staging)
    assert device.rows == {}


async def test_the_scope_in_force_is_the_one_that_was_published(staging: Database) -> None:
    text = profile(item("contact", rows=["own"]))
    staged = await standing(staging, text)
    assert not await prepare(staged.work, compiled(text), NOW)
    async with staging.connection() as connection:
        assert await read_scope(connection) == compiled(text)
        assert (await read_scopes(connection)).next is None
