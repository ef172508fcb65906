"""Whose turn it is: what one device has piled up holds back nobody else, nor does what waits behind a conflict."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from satchel.journal.receive import receive
from satchel.model.writes import Played, Sent
from satchel.staging.head import read_scope
from tests.support.edits.world import USER, World, gid, upd

PILE, BEHIND = 200, 30


async def send_many(world: World, device: str, edits: list[dict[str, Any]]) -> list[str]:
    """Each as a set of its own, in one request; the ids of the sets."""
    sets = [
        {"id": each.pop("set", None) or gid(), "made_at": "x", "edits": [{"id": gid(), "entity": "contact", **each}]}
        for each in edits
    ]
    async with world.db.connection() as connection:
        model = (await read_scope(connection)).client_model
    raws = [msgspec.Raw(msgspec.json.encode(each)) for each in sets]
    await receive(world.db, raws, model, device=device, user_id=USER, max_unsettled=10_000)
    return [str(each["id"]) for each in sets]


async def test_an_edit_does_not_wait_for_what_other_devices_piled_up(world: World) -> None:
    await world.make()
    rows = [world.contact() for _ in range(PILE)]
    theirs, mine = world.contact(), world.contact()
    await world.stage(*rows, theirs, mine)
    await send_many(world, "piled", [upd(row, name="pile") for row in rows[: PILE // 2]])
    await send_many(world, "piled too", [upd(row, name="pile") for row in rows[PILE // 2 :]])
    real, played = world.source.play, []

    async def play(writes: Any, user: Any, name: str) -> Played:
        played.append(writes[0].values["name"])
        if len(played) == 50:  # in the middle of it, a third device comes
            await world.send(upd(mine, name="mine"), device="third")
        await asyncio.sleep(0)
        return await real(writes, user, name)

    world.source.play = play  # type: ignore[method-assign]
    await world.play()
    assert len(played) == PILE + 1
    assert played.index("mine") < 50 + 60, f"it was played after {played.index('mine')} others"


async def test_what_waits_behind_a_conflict_holds_back_nothing_else(world: World) -> None:
    await world.make()
    row, other = world.contact(), world.contact()
    await world.stage(row, other)
    first = await world.send(upd(row, status="no number"))
    ids = [gid() for _ in range(BEHIND)]
    before = [first, *ids]
    held = [{**upd(row, name=f"n{n}"), "after": before[n], "set": each} for n, each in enumerate(ids)]
    await send_many(world, "d", held)
    free = await world.send(upd(other, name="free"))
    await world.play()
    assert (await world.state(free))[1] == "accepted"
    assert {(await world.state(each))[0] for each in ids[:3]} == {"waiting"}
    await world.send(set_id=first, version=2)
    await world.play()
    assert (await world.state(ids[-1]))[1] == "accepted"
    assert world.source.data["contact", (row["id"],)]["name"] == f"n{BEHIND - 1}"


async def test_the_source_is_told_how_long_satchel_had_left_the_row_alone(world: World) -> None:
    """An own write just before could be taken for the one whose answer was lost."""
    await world.make(conflicts="device")
    row = world.contact()
    await world.stage(row)
    asked: list[Sent] = []

    async def was_executed(_: Any, __: Any, sent: Sent) -> bool | None:
        asked.append(sent)
        return None

    world.source.was_executed = was_executed  # type: ignore[method-assign]
    first = await world.send(upd(row, name="B"))
    await world.play()
    world.source.modes = ["lost_before"]
    second = await world.send({**upd(row, status=2), "after": first})
    await world.play()
    world.source.put("contact", id=row["id"], name="theirs")
    await world.play()
    (sent,) = asked
    assert sent.alone_seconds is not None
    assert 0 < sent.alone_seconds < 60
    assert 0 < sent.age_seconds < 60
    assert (await world.state(second))[1] == "conflict"
    assert world.source.executed == ["update contact {'name': 'B'}"]
