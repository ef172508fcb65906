"""What an administrator does about stuck edits: look, have them tried again, close them; nothing is lost by it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from satchel.journal.look import Chosen, SeenSet, Show, close_sets, count_sets, find_sets, try_again
from satchel.journal.sets import Attempt, mark_sending, outcomes, playable
from satchel.model.edits import Outcome, Reason, Verdict
from tests.support.edits.world import USER, World, gid, upd


async def seen(world: World, show: Show = Show.ALL, **chosen: Any) -> list[SeenSet]:
    async with world.db.connection() as connection:
        return await find_sets(connection, Chosen(show=show, **chosen))


async def numbers(world: World, show: Show = Show.ALL, **chosen: Any) -> list[int]:
    return [each.number for each in await seen(world, show, **chosen)]


async def again(world: World, *sets: int) -> list[int]:
    async with world.db.transaction() as connection:
        return await try_again(connection, sets)


async def close(world: World, *sets: int, even_if_executed: bool = False) -> tuple[list[int], list[int]]:
    async with world.db.transaction() as connection:
        return await close_sets(connection, sets, message="closed: by phone", even_if_executed=even_if_executed)


async def told(world: World, device: str = "d") -> list[Outcome]:
    """What a device hears."""
    async with world.db.connection() as connection:
        return [each for _, each in await outcomes(connection, device, after=0, until=2**62, limit=100)]


async def conflict(world: World) -> dict[str, Any]:
    """A set that is held, and the row as the source has it."""
    row = world.contact()
    await world.stage(row)
    theirs = world.source.put("contact", id=row["id"], name="theirs")
    await world.stage(dict(theirs))
    await world.send(upd(row, name="mine"))
    await world.play()
    return dict(theirs)


async def sending(world: World) -> int:
    """A set that was sent, and nobody knows whether it was executed."""
    row = world.contact()
    await world.stage(row)
    await world.send(upd(row, name="B"))
    async with world.db.transaction() as connection:
        (journaled,) = await playable(connection, under_way=[], limit=10)
        etags = {edit.id: row["@odata.etag"] for edit in journaled.edits}
        assert await mark_sending(connection, journaled, Attempt(since=datetime.now(UTC), etags=etags))
    return journaled.number


async def test_sets_are_found_by_what_is_known_of_them(world: World) -> None:
    await world.make()
    await conflict(world)
    row = world.contact()
    await world.stage(row)
    accepted = await world.send(upd(row, name="B"))
    await world.play()
    await world.send(upd(row, name="C"), device="e")
    held, settled, waiting = await seen(world)
    assert (held.word, settled.word, waiting.word) == ("conflict", "accepted", "waiting")
    assert settled.id == accepted
    assert await numbers(world, Show.OPEN) == [held.number, waiting.number]
    assert await numbers(world, Show.STUCK) == [held.number]
    assert await numbers(world, Show.SETTLED) == [settled.number]
    assert await numbers(world, device="e") == [waiting.number]
    assert await numbers(world, user=USER) == [held.number, settled.number, waiting.number]
    assert await numbers(world, user="nobody") == await numbers(world, entity="task") == []
    assert await numbers(world, entity="contact", after=held.number, limit=1) == [settled.number]
    async with world.db.connection() as connection:
        counts = {(each.state, each.verdict): each.sets for each in await count_sets(connection)}
    assert counts == {("held", "conflict"): 1, ("settled", "accepted"): 1, ("waiting", ""): 1}


async def test_what_waits_for_the_source_is_tried_at_once(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    world.source.modes = ["lost_before"]
    await world.send(upd(row, name="B"))
    await world.play()
    (stuck,) = await seen(world, Show.STUCK)
    assert stuck.problem
    assert stuck.tries == 1
    assert stuck.next_at is not None
    assert await again(world, stuck.number) == [stuck.number]
    await world.play()
    assert await numbers(world, Show.SETTLED) == [stuck.number]
    assert world.source.executed == ["update contact {'name': 'B'}"]


async def test_a_conflict_that_is_gone_is_accepted_when_tried_again(world: World) -> None:
    await world.make()
    theirs = await conflict(world)
    back = world.source.put("contact", id=theirs["id"], name="Ann")
    await world.stage(dict(back))
    (held,) = await numbers(world, Show.STUCK)
    assert await again(world, held) == [held]
    await world.play()
    assert [each.verdict for each in await told(world)] == [Verdict.ACCEPTED]
    assert world.source.data["contact", (theirs["id"],)]["name"] == "mine"


async def test_what_may_have_been_executed_is_cleared_up_before_it_is_sent_again(world: World) -> None:
    await world.make()
    number = await sending(world)
    key = (await seen(world))[0].edits[0].key
    world.source.executed.append("by the attempt")
    world.source.put("contact", id=key[0], name="B")  # the attempt was executed; nobody heard of it
    assert await again(world, number) == [number]
    await world.play()
    assert world.source.executed == ["by the attempt"]
    assert [each.verdict for each in await told(world)] == [Verdict.ACCEPTED]


async def test_a_settled_set_is_neither_tried_again_nor_closed(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    await world.send(upd(row, name="B"))
    await world.play()
    (number,) = await numbers(world)
    assert await again(world, number, number + 5) == []
    assert await close(world, number, number + 5) == ([], [])
    assert [each.verdict for each in await told(world)] == [Verdict.ACCEPTED]


async def test_a_closed_set_comes_home_and_holds_nothing(world: World) -> None:
    await world.make()
    theirs = await conflict(world)
    later = await world.send(upd(theirs, status=9))
    await world.play()
    assert (await world.state(later))[0] == "waiting"  # behind the conflict
    (held,) = await numbers(world, Show.STUCK)
    assert await close(world, held) == ([held], [])
    await world.play()
    assert (await world.state(later))[:2] == ("settled", "accepted")
    closed = (await told(world))[0]
    assert closed.verdict is Verdict.REJECTED
    assert closed.is_closed
    assert closed.edits[0].reason is Reason.CLOSED
    assert closed.edits[0].message == "closed: by phone"
    assert (await seen(world, Show.SETTLED))[0].word == "closed"
    assert await close(world, held) == ([], [])  # once


async def test_the_user_may_take_a_closed_set_up_again(world: World) -> None:
    await world.make()
    theirs = await conflict(world)
    (held,) = await seen(world, Show.STUCK)
    await close(world, held.number)
    await world.send(upd(theirs, name="mine after all"), set_id=held.id, version=2)
    await world.play()
    assert (await world.state(held.id))[:2] == ("settled", "accepted")
    assert world.source.data["contact", (theirs["id"],)]["name"] == "mine after all"


async def test_what_may_have_been_executed_is_closed_only_on_demand(world: World) -> None:
    await world.make()
    number = await sending(world)
    assert await close(world, number) == ([], [number])
    assert await told(world) == []
    assert await close(world, number, even_if_executed=True) == ([number], [])
    assert (await told(world))[0].edits[0].code == "satchel/closed-unsure"
    await world.play()
    assert world.source.executed == []


async def test_a_set_between_that_was_closed_hands_on_what_the_first_made_of_the_row(world: World) -> None:
    await world.make(conflicts="server")
    row = world.contact()
    await world.stage(row)
    first = await world.send(upd(row, name="B"))
    second = await world.send({**upd(row, status=2), "after": first})
    third = await world.send({**upd(row, name="C"), "after": second})
    (number,) = [each.number for each in await seen(world) if each.id == second]
    await close(world, number)
    await world.play(2)
    assert [(await world.state(each))[1] for each in (first, second, third)] == ["accepted", "rejected", "accepted"]
    assert json.loads((await world.state(second))[2])["edits"][0]["reason"] == "closed"


async def test_a_stranger_cannot_be_chosen(world: World) -> None:
    await world.make()
    await conflict(world)
    assert await again(world, 10**12) == []
    assert await close(world, 10**12) == ([], [])
    assert await numbers(world, device=gid()) == []
