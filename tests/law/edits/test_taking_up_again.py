"""Sets that are withdrawn, taken up again or received while they are played: one verdict, in one order of locks."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from satchel.jobs.playback import playback
from satchel.journal.receive import receive
from satchel.journal.sets import Attempt, lock_verdicts, mark_sending, playable, settle
from satchel.model.edits import Outcome, Verdict
from satchel.model.writes import Played
from satchel.staging.head import read_scope
from tests.support.edits.world import NOW, USER, World, gid, upd


async def test_a_player_that_lost_its_lock_is_fenced(world: World) -> None:
    """The guard's connection is killed while a write is under way; another player takes over and sends it again."""
    await world.make()
    world.source.has_etags = False
    row = world.contact()
    await world.stage(row)
    await world.send(upd(row, name="B"))
    inside, go = asyncio.Event(), asyncio.Event()
    real, order = world.source.play, []

    async def slow(writes: Any, user: Any, name: str) -> Played:
        order.append("asked")
        if len(order) == 1:
            inside.set()
            await go.wait()
        return await real(writes, user, name)

    world.source.play = slow  # type: ignore[method-assign]
    one = asyncio.create_task(playback(world.work))
    await inside.wait()
    await world.db.fetch(
        "select pg_terminate_backend(l.pid) from pg_locks l join pg_database d on d.oid = l.database"
        " where l.locktype = 'advisory' and d.datname = current_database()"
    )
    await asyncio.sleep(0.5)
    await playback(world.work)
    go.set()
    await asyncio.gather(one, return_exceptions=True)
    assert len(world.source.executed) == 1, world.source.executed


async def test_receiving_and_settling_lock_in_one_order(world: World) -> None:
    """A request names a set that is being settled and withdraws another one."""
    await world.make()
    a, b = world.contact(), world.contact()
    await world.stage(a, b)
    one, two = await world.send(upd(a, name="1")), await world.send(upd(b, name="2"))
    rows = await world.db.fetch("select id::text, number, edits from satchel.edit_set")
    numbers = {row[0]: row[1] for row in rows}
    edits = {row[0]: json.loads(row[2]) for row in rows}

    async def settling() -> None:
        async with world.db.transaction() as connection:
            await lock_verdicts(connection)
            await asyncio.sleep(0.3)
            await settle(connection, numbers[one], Outcome(set=one, version=1, verdict=Verdict.ACCEPTED))

    async def receiving() -> None:
        await asyncio.sleep(0.1)
        async with world.db.connection() as connection:
            model = (await read_scope(connection)).client_model
        bodies = [
            {"id": one, "version": 1, "made_at": "x", "edits": edits[one]},
            {"id": two, "version": 2, "made_at": "x", "edits": []},
        ]
        raws = [msgspec.Raw(json.dumps(body).encode()) for body in bodies]
        await receive(world.db, raws, model, device="d", user_id=USER, max_unsettled=100)

    await asyncio.gather(settling(), receiving())


async def test_what_is_withdrawn_while_it_is_judged_is_not_sent(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    s = await world.send(upd(row, name="mine"))
    async with world.db.connection() as c:
        (journaled,) = await playable(c, under_way=(), limit=10)
    await world.send(set_id=s, version=2)
    async with world.db.connection() as c:
        assert not await mark_sending(c, journaled, Attempt(since=NOW, etags={}))
    await world.play()
    assert not world.source.plays


async def test_a_set_that_was_taken_up_again_is_not_sent_in_its_old_version(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    s = await world.send(upd(row, name="first thought"))
    async with world.db.connection() as c:
        (journaled,) = await playable(c, under_way=(), limit=10)
    await world.send(upd(row, name="second thought"), set_id=s, version=2)
    async with world.db.connection() as c:
        assert not await mark_sending(c, journaled, Attempt(since=NOW, etags={}))
    await world.play()
    assert world.source.data["contact", (row["id"],)]["name"] == "second thought"
    assert world.source.plays == 1


async def test_a_withdrawal_gets_through_at_the_limit(world: World) -> None:
    """max_unsettled is reached with held sets; the user lets go of one and has made a new one: both are refused."""
    await world.make()
    row = world.contact()
    await world.stage(row)
    first = await world.send(upd(row, status="no number"))
    await world.play()
    async with world.db.connection() as c:
        model = (await read_scope(c)).client_model
    again = {"id": first, "version": 2, "made_at": "x", "edits": []}
    new = {
        "id": gid(),
        "version": 1,
        "made_at": "x",
        "edits": [{"id": gid(), "entity": "contact", **upd(row, name="B")}],
    }
    raws = [msgspec.Raw(json.dumps(each).encode()) for each in (again, new)]
    await receive(world.db, raws, model, device="d", user_id=USER, max_unsettled=1)


async def test_another_device_cannot_take_up_a_set(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    s = await world.send(upd(row, name="mine"))
    with pytest.raises(AssertionError, match="another device"):
        await world.send(upd(row, name="not mine"), set_id=s, version=2, device="other")
    await world.play()
    assert world.source.data["contact", (row["id"],)]["name"] == "mine"
