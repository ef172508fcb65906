"""Whose change counts where a device edits a row again and again, and others change it between."""

from __future__ import annotations

import itertools

import pytest

from tests.support.edits.world import World, base, gid, upd


async def test_update_of_a_row_whose_create_was_not_told(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    world.source.tells = False
    world.source.rows_fail = 1
    key = gid()
    first = await world.send({"key": [key], "action": "create", "values": {"name": "new", "status": 1}})
    second = await world.send({"key": [key], "action": "update", "values": {"name": "newer"}, "after": first})
    await world.play(2)
    assert (await world.state(first))[1] == "accepted", await world.state(first)
    assert (await world.state(second))[1] == "accepted", await world.state(second)


@pytest.mark.parametrize("policy", ["merge", "server"])
async def test_own_edit_counts_as_others_where_it_was_not_told(world: World, policy: str) -> None:
    await world.make(conflicts=policy)
    row = world.contact()
    await world.stage(row)
    world.source.tells = False
    world.source.rows_fail = 1
    first = await world.send(upd(row, name="B"))
    second = await world.send({**upd(row, name="C"), "after": first})
    await world.play(2)
    assert (await world.state(first))[1] == "accepted", await world.state(first)
    assert (await world.state(second))[1] == "accepted", await world.state(second)


@pytest.mark.parametrize("policy", ["merge", "server"])
async def test_what_is_known_survives_a_withdrawn_set_between(world: World, policy: str) -> None:
    await world.make(conflicts=policy)
    row = world.contact()
    await world.stage(row)
    first = await world.send(upd(row, name="B"))
    second = await world.send({**upd(row, status="no number"), "after": first})
    third = await world.send({**upd(row, name="C"), "after": second})
    await world.play()
    assert [(await world.state(s))[1] for s in (first, second, third)] == ["accepted", "rejected", None]
    await world.send(set_id=second, version=2)  # the user lets go of it
    await world.play()
    assert (await world.state(third))[1] == "accepted", await world.state(third)


async def test_others_change_between_two_own_edits_is_not_own(world: World) -> None:
    """`after` may name a set of another device."""
    await world.make()
    row = world.contact()
    await world.stage(row)
    foreign = await world.send(upd(row, name="other user's"), device="other")
    await world.play()
    s = await world.send({**upd(row, name="mine"), "after": foreign})
    await world.play()
    assert (await world.state(s))[1] == "conflict", await world.state(s)


async def test_without_etags_others_change_is_not_overwritten_in_silence(world: World) -> None:
    """Not pulled yet, merge policy, both changed the name."""
    await world.make()
    world.source.has_etags = False
    row = world.contact()
    await world.stage(row)
    world.source.put("contact", id=row["id"], name="theirs")
    s = await world.send(upd(row, name="mine"))
    await world.play()
    assert (await world.state(s))[1] == "conflict", await world.state(s)


async def test_what_others_set_back_between_two_own_edits_is_not_overwritten(world: World) -> None:
    """Ann, then Bea (mine), then Ann again (theirs): an edit made on Bea meets a change that looks like none."""
    await world.make()
    row = world.contact(name="Ann")
    await world.stage(row)
    first = await world.send(upd(row, name="Bea"))
    await world.play()
    back = world.source.put("contact", id=row["id"], name="Ann")
    await world.stage(dict(back))
    second = await world.send({**upd(row, name="Cleo"), "after": first})
    await world.play()
    assert (await world.state(second))[1] == "conflict"
    assert world.source.data["contact", (row["id"],)]["name"] == "Ann"


@pytest.mark.parametrize("policy", ["merge", "server", "ask"])
async def test_what_is_known_survives_a_set_withdrawn_before_the_first_was_played(world: World, policy: str) -> None:
    await world.make(conflicts=policy)
    row = world.contact()
    await world.stage(row)
    first = await world.send(upd(row, name="B"))
    second = await world.send({**upd(row, status=2), "after": first})
    third = await world.send({**upd(row, name="C"), "after": second})
    fourth = await world.send({**upd(row, name="D"), "after": third})
    await world.send(set_id=second, version=2)  # the user lets go of them, before anything was played
    await world.send(set_id=third, version=2)
    await world.play()
    assert (await world.state(first))[1] == "accepted"
    assert (await world.state(fourth))[1] == "accepted", await world.state(fourth)


async def test_a_device_that_names_sets_in_a_circle_gets_a_verdict(world: World) -> None:
    await world.make(conflicts="ask")
    row = world.contact()
    await world.stage(row)
    one, two = gid(), gid()
    await world.send({**upd(row, status=2), "after": two}, set_id=one)
    await world.send({**upd(row, status=3), "after": one}, set_id=two)
    await world.send(set_id=one, version=2)
    await world.send(set_id=two, version=2)
    third = await world.send({**upd(row, name="C"), "after": two})
    await world.play()
    assert (await world.state(third))[1] == "accepted"  # nobody else changed the row: its base says so


async def test_a_stamp_of_the_source_after_a_merged_set_is_no_others_change(world: World) -> None:
    await world.make()
    row = world.contact(stamp=1)
    await world.stage(row)
    real = world.source.put
    count = itertools.count(2)
    world.source.put = lambda entity, **v: real(entity, **{**v, "stamp": next(count)})  # type: ignore[method-assign]
    newer = world.source.put("contact", id=row["id"], status=3)
    await world.stage(dict(newer))
    first = await world.send(upd(row, name="B"))  # made before the device was told of `newer`
    second = await world.send({"key": [row["id"]], "action": "delete", "base": base(newer), "after": first})  # after it
    await world.play()
    assert (await world.state(first))[1] == "merged"
    assert (await world.state(second))[1] == "accepted", await world.state(second)
