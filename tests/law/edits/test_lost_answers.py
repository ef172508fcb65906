"""Playback where the source's answer is lost: what the rows and the audit tell counts, nothing is done twice."""

from __future__ import annotations

from typing import Any

import pytest

from satchel.model.writes import Played
from tests.support.edits.world import NOW, UNIT, USER, World, base, created, gid, upd
from tests.support.field_organization import compiled, item, profile


async def test_ok(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    s = await world.send(upd(row, name="B"))
    await world.play()
    assert (await world.state(s))[:2] == ("settled", "accepted")
    assert (await world.staged(row))["name"] == "B"


async def test_executed_answer_lost_and_the_row_left_the_scope_by_it(world: World) -> None:
    await world.make(filter="status eq 1", rows=["custom"])
    row = world.contact()
    await world.stage(row)
    world.source.modes = ["lost_after"]
    s = await world.send(upd(row, status=2))
    await world.play(2)
    assert world.source.executed == ["update contact {'status': 2}"]
    assert (await world.state(s))[1] == "accepted", await world.state(s)


async def test_executed_answer_lost_row_deleted_later(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    world.source.modes = ["lost_after"]
    s = await world.send(upd(row, status=2))
    await world.play(1)
    del world.source.data["contact", (row["id"],)]
    await world.play(1)
    print(await world.state(s))
    assert (await world.state(s))[1] != "rejected", await world.state(s)


async def test_weak_evidence_of_one_edit_does_not_drop_the_others(world: World) -> None:
    await world.make()
    a, b = world.contact(), world.contact()
    await world.stage(a, b)
    world.source.modes = ["lost_before"]
    s = await world.send(upd(a, name="mine"), {"key": [b["id"]], "action": "delete", "base": base(b)})
    await world.play(1)
    assert world.source.executed == []
    del world.source.data["contact", (b["id"],)]  # somebody else deletes b
    await world.play(2)
    assert (await world.state(s))[1] != "accepted" or world.source.data["contact", (a["id"],)]["name"] == "mine", (
        await world.state(s)
    )


async def test_same_value_by_others(world: World) -> None:
    await world.make()
    a, b = world.contact(), world.contact()
    await world.stage(a, b)
    world.source.modes = ["lost_before"]
    s = await world.send(upd(a, name="mine"), upd(b, status=2))
    await world.play(1)
    world.source.put("contact", id=b["id"], status=2)  # somebody else sets the same status of b
    await world.play(2)
    assert (await world.state(s))[1] != "accepted" or world.source.data["contact", (a["id"],)]["name"] == "mine", (
        await world.state(s)
    )


async def test_late_execution_and_a_plugin_that_changes_the_value(world: World) -> None:
    """The first request times out here, but is executed at the source while the second is on its way."""
    await world.make()
    key = gid()
    world.source.modes = ["lost_before"]
    s = await world.send({"key": [key], "action": "create", "values": {"name": "mine ", "status": 1}})
    await world.play(1)
    real = world.source.play

    async def late(*a: Any) -> Played:
        world.source.play = real  # type: ignore[method-assign]
        world.contact(id=key, name="mine")  # executed now; the source trims
        return await real(*a)

    world.source.play = late  # type: ignore[method-assign]
    await world.play(2)
    assert (await world.state(s))[1] == "accepted", await world.state(s)


@pytest.mark.parametrize("policy", ["server", "ask"])
async def test_a_stamp_of_the_source_after_a_lost_answer_is_no_others_change(world: World, policy: str) -> None:
    await world.make(conflicts=policy)
    row = world.contact(stamp=1)
    await world.stage(row)
    real = world.source.put
    world.source.put = lambda entity, **v: real(entity, **{**v, "stamp": 2})  # type: ignore[method-assign]
    world.source.modes = ["lost_after"]
    first = await world.send(upd(row, name="B"))
    second = await world.send({**upd(row, name="C"), "after": first})
    await world.play(2)
    assert (await world.state(first))[1] == "accepted"
    assert (await world.state(second))[1] == "accepted", await world.state(second)


async def test_others_change_of_a_row_whose_create_was_lost_is_not_overwritten(world: World) -> None:
    await world.make()
    key = gid()
    world.source.modes = ["lost_after"]
    made = {"key": [key], "action": "create", "values": {"name": "mine", "owner": USER, "unit": UNIT}}
    first = await world.send(made)
    second = await world.send({"key": [key], "action": "update", "values": {"name": "newer"}, "after": first})
    await world.play(1)
    world.source.put("contact", id=key, name="theirs")
    await world.play(2)
    assert (await world.state(first))[1] == "accepted", await world.state(first)
    assert (await world.state(second))[1] == "conflict", await world.state(second)
    assert world.source.data["contact", (key,)]["name"] == "theirs"


async def test_others_change_after_an_update_whose_answer_was_lost_is_not_overwritten(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    world.source.modes = ["lost_after"]
    first = await world.send(upd(row, name="mine"), created())
    second = await world.send({**upd(row, name="newer"), "after": first})
    await world.play(1)
    world.source.put("contact", id=row["id"], name="theirs")
    await world.play(2)
    assert (await world.state(first))[1] == "accepted", await world.state(first)
    assert (await world.state(second))[1] == "conflict", await world.state(second)
    assert world.source.data["contact", (row["id"],)]["name"] == "theirs"


async def test_a_412_that_is_no_version_comes_home(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    world.source.refuse_412 = True
    s = await world.send(upd(row, name="taken"))
    await world.play(3)
    assert (await world.state(s))[0] == "held", (await world.state(s), world.source.plays)


@pytest.mark.parametrize("is_user_gone", [True, False])
async def test_what_may_have_been_executed_comes_home_where_nobody_may_look_any_more(
    world: World, is_user_gone: bool
) -> None:
    """The user left the directory: the row still tells. Its entity is offered no more: its user is told so."""
    await world.make()
    row = world.contact()
    await world.stage(row)
    world.source.modes = ["lost_after"]
    s = await world.send(upd(row, name="B"))
    await world.play()
    assert (await world.state(s))[0] == "sending"
    if is_user_gone:
        await world.org.change("user", removed=[(USER,)])
    else:
        await world.org.publish(compiled(profile(item("task", rows=["all"]))), NOW)
    await world.play()
    state, verdict, _ = await world.state(s)
    assert (state, verdict) == (("settled", "accepted") if is_user_gone else ("held", "conflict"))
    assert len(world.source.executed) == 1
