"""Pages of a pull beside write-throughs of edits: neither puts an older state of a row over a newer one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from satchel.jobs.apply import apply_page
from satchel.jobs.ask_again import ask_again, refresh_rows
from satchel.model.changes import Page
from satchel.staging.head import read_scopes
from satchel.staging.watermark import advance, read_watermark
from satchel.staging.written import note_unsettled, unsettled, writes_now
from tests.support.edits.world import VOID, World, created, gid, upd


async def _page(world: World, *rows: dict[str, Any]) -> Page:
    return Page(rows=json.dumps(list(rows)).encode(), row_count=len(rows), removed=(), watermark=VOID, is_last=True)


async def _apply(world: World, page: Page, writes: int) -> None:
    async with world.db.transaction() as c:
        entity = (await read_scopes(c)).maintained.entity_by_name["contact"]
        await apply_page(c, entity, page, writes=writes)


async def _deletion(world: World, *keys: str) -> None:
    """Others delete rows, and the page that tells it is staged, as a pull does it."""
    async with world.db.connection() as c:
        writes = await writes_now(c)
    for key in keys:
        del world.source.data["contact", (key,)]
    page = Page(rows=b"[]", row_count=0, removed=tuple((key,) for key in keys), watermark=VOID, is_last=True)
    async with world.db.transaction() as c:
        entity = (await read_scopes(c)).maintained.entity_by_name["contact"]
        await apply_page(c, entity, page, writes=writes)
        version = (await read_watermark(c, "contact")).version
        await advance(c, "contact", page.watermark, version=version, is_last=True)


async def test_a_new_row_that_others_deleted_before_it_was_staged_stays_away(world: World) -> None:
    """The page finds nothing to remove, and is never sent again: the source's answer to the edit is older than it."""
    await world.make()
    edit = created()
    row = {"id": edit["key"][0]}

    async def meanwhile() -> None:
        await _deletion(world, row["id"])

    world.source.after_play = meanwhile
    s = await world.send(edit)
    await world.play()
    assert (await world.state(s))[1] == "accepted"
    assert not await world.staged(row)


async def test_a_row_that_was_deleted_while_it_was_asked_for_stays_away(world: World) -> None:
    await world.make()
    row = world.contact()
    async with world.db.transaction() as c:
        entity = (await read_scopes(c)).maintained.entity_by_name["contact"]
        await note_unsettled(c, "contact", [(row["id"],)])

    async def meanwhile() -> None:
        await _deletion(world, row["id"])

    world.source.in_rows = meanwhile
    await refresh_rows(world.work, entity, [(row["id"],)])
    assert not await world.staged(row)
    await ask_again(world.work)
    assert not await world.staged(row)
    async with world.db.connection() as c:
        assert not await unsettled(c)


async def test_older_page_after_a_lost_answer(world: World) -> None:
    """A page was asked for before a write whose answer was lost, and is applied after the verdict."""
    await world.make()
    row = world.contact()
    await world.stage(row)
    async with world.db.connection() as c:
        writes = await writes_now(c)
    page = await _page(world, dict(row))
    world.source.modes = ["lost_after"]
    s = await world.send(upd(row, name="B"))
    await world.play(2)
    assert (await world.state(s))[1] == "accepted"
    await _apply(world, page, writes)
    async with world.db.connection() as c:
        noted = await unsettled(c)
    assert noted or (await world.staged(row))["name"] == "B", "the accepted edit is overwritten by an older page"


async def test_a_page_between_a_write_through_and_its_note(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page looks for newer writes, a set is settled, the page is staged: one after the other, never interleaved.

    The moment between is held open by a function of ours, as no lock that a test could hold stands there: any that
    keeps the page back keeps the set back too.
    """
    from satchel.jobs import apply

    await world.make()
    row = world.contact()
    await world.stage(row)
    async with world.db.connection() as c:
        writes = await writes_now(c)
    page = await _page(world, dict(row))
    s = await world.send(upd(row, name="B"))
    playing: list[asyncio.Task[None]] = []
    begin_changes = apply.begin_changes

    async def while_a_set_is_settled(connection: Any) -> None:
        monkeypatch.setattr(apply, "begin_changes", begin_changes)
        playing.append(asyncio.create_task(world.play()))
        await asyncio.wait(playing, timeout=1.0)
        await begin_changes(connection)

    monkeypatch.setattr(apply, "begin_changes", while_a_set_is_settled)
    await _apply(world, page, writes)
    await asyncio.gather(*playing)
    assert (await world.state(s))[1] == "accepted"
    assert (await world.staged(row))["name"] == "B"


async def test_what_was_written_is_known_where_a_page_came_between(world: World) -> None:
    """A page changed the row after the set was judged: the next edit of it still builds on what the set made."""
    await world.make(conflicts="merge")
    row = world.contact()
    await world.stage(row)
    first = await world.send(upd(row, name="B"))
    second = await world.send({**upd(row, name="C"), "after": first})

    async def others_page() -> None:
        older = {
            **world.source.data["contact", (row["id"],)],
            "name": "Ann",
            "due": "2026-05-05",
            "@odata.etag": 'W/"x"',
        }
        async with world.db.transaction() as c:
            entity = (await read_scopes(c)).maintained.entity_by_name["contact"]
            await apply_page(c, entity, await _page(world, older), writes=await writes_now(c))

    world.source.after_play = others_page
    await world.play(2)
    assert (await world.state(first))[1] == "accepted"
    assert (await world.state(second))[1] in ("accepted", "merged"), await world.state(second)
    assert world.source.data["contact", (row["id"],)]["name"] == "C"


async def test_a_note_put_while_the_row_was_asked_for_is_kept(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    async with world.db.connection() as c:
        writes = await writes_now(c)  # a long pull begins
        entity = (await read_scopes(c)).maintained.entity_by_name["contact"]
    s = await world.send(upd(row, name="B"))
    await world.play()
    assert (await world.state(s))[1] == "accepted"

    async def meanwhile() -> None:  # others change the row; the pull's next page has it, and is left out for `written`
        newest = world.source.put("contact", id=row["id"], name="theirs")
        await _apply(world, await _page(world, dict(newest)), writes)

    world.source.in_rows = meanwhile
    await refresh_rows(world.work, entity, [(row["id"],)])
    async with world.db.connection() as c:
        noted = await unsettled(c)
    assert noted or (await world.staged(row))["name"] == "theirs", (
        "the pull's watermark is past it, and nobody asks again"
    )


async def test_without_etags_a_newer_page_is_not_overwritten(world: World) -> None:
    await world.make()
    world.source.has_etags = False
    row = world.contact()
    await world.stage(row)

    async def meanwhile() -> None:  # after the write, before its write-through: others' change is pulled
        newest = world.source.put("contact", id=row["id"], name="theirs")
        async with world.db.connection() as c:
            writes = await writes_now(c)
        world.told = await _page(world, dict(newest))
        await _apply(world, world.told, writes)

    world.source.after_play = meanwhile
    await world.send(upd(row, name="B"))
    await world.play()
    async with world.db.connection() as c:
        noted = await unsettled(c)
    assert noted or (await world.staged(row))["name"] == "theirs"


async def test_one_entity_that_may_not_be_read_does_not_stop_the_others_notes(world: World) -> None:
    from satchel.errors import RequestRefused

    await world.make()
    row = world.contact()
    await world.stage(row)
    newest = world.source.put("contact", id=row["id"], name="newest")
    async with world.db.transaction() as c:
        await note_unsettled(c, "task", [(gid(),)])
        await note_unsettled(c, "contact", [(row["id"],)])
    real = world.source.rows

    async def rows(entity: Any, keys: Any) -> Page:
        if entity.name == "task":
            raise RequestRefused("forbidden")
        return await real(entity, keys)

    world.source.rows = rows  # type: ignore[method-assign]
    await ask_again(world.work)
    assert (await world.staged(row))["name"] == newest["name"]


async def test_a_page_asked_for_before_an_edit_does_not_undo_it(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    async with world.db.connection() as c:
        writes = await writes_now(c)
    page = await _page(world, dict(row))
    await world.send(upd(row, name="B"))
    await world.play()
    await _apply(world, page, writes)
    assert (await world.staged(row))["name"] == "B"
    async with world.db.connection() as c:
        assert await unsettled(c), "the page may have known something newer: the row is asked for again"
