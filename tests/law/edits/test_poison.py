"""Edits that the source never digests: they hold back only their own rows, and their user can take them back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from satchel.errors import SourceUnreachable
from satchel.journal.look import close_sets, try_again
from satchel.model.metadata import Right
from satchel.model.writes import Played
from tests.support.edits.world import NOW, UNIT, USER, World, gid, upd
from tests.support.field_organization import PRINCIPALS, compiled, item, profile


def poison(world: World, *, status: int | None, is_executed: bool = False) -> None:
    """What sets this name fails at the source, with an answer or without."""
    real = world.source.play

    async def play(writes: Any, user: Any, name: str) -> Played:
        if not any(write.values.get("name") == "poison" for write in writes):
            return await real(writes, user, name)
        if is_executed:
            await real(writes, user, name)
        world.source.plays += not is_executed
        error = SourceUnreachable("The source failed.")
        error.facts = {} if status is None else {"status": status}
        raise error

    world.source.play = play  # type: ignore[method-assign]


@pytest.mark.parametrize("status", [500, None], ids=["answered", "never answered"])
async def test_what_is_never_executed_can_be_taken_back(world: World, status: int | None) -> None:
    await world.make()
    row, other = world.contact(), world.contact()
    await world.stage(row, other)
    poison(world, status=status)
    bad = await world.send(upd(row, name="poison"))
    behind = await world.send({**upd(row, status=2), "after": bad})
    free = await world.send(upd(other, name="free"))
    tries = 1 if status else 4
    await world.play(tries)
    assert (await world.state(free))[1] == "accepted"
    assert (await world.state(behind))[0] == "waiting"
    assert (await world.state(bad))[0] == "waiting", "nobody can take back what may have been executed"
    assert world.source.plays == (3 if status is None else 1) + 1
    await world.send(set_id=bad, version=2)
    await world.play()
    assert (await world.state(bad))[1] == "withdrawn"
    assert (await world.state(behind))[1] == "accepted"
    assert world.source.executed == ["update contact {'name': 'free'}", "update contact {'status': 2}"]


async def test_what_was_executed_all_the_same_is_accepted_at_once(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    poison(world, status=500, is_executed=True)
    bad = await world.send(upd(row, name="poison"))
    await world.play()
    assert (await world.state(bad))[:2] == ("settled", "accepted")
    assert len(world.source.executed) == 1


async def test_a_set_that_is_closed_while_it_is_under_way_keeps_its_verdict(world: World) -> None:
    """An administrator closes, retries and closes while the source is at it; it is executed once, and told once."""
    await world.make()
    row = world.contact()
    await world.stage(row)
    s = await world.send(upd(row, name="mine"))
    ((number,),) = await world.db.fetch("select number from satchel.edit_set")
    real = world.source.play

    async def play(*asked: Any) -> Played:
        async with world.db.transaction() as connection:
            assert await try_again(connection, [number]) == [number]
        async with world.db.transaction() as connection:
            assert await close_sets(connection, [number], message="no", even_if_executed=False) == ([], [number])
        done = await real(*asked)
        async with world.db.transaction() as connection:
            assert await close_sets(connection, [number], message="no", even_if_executed=True) == ([number], [])
        return done

    world.source.play = play  # type: ignore[method-assign]
    await world.play(2)
    assert (await world.state(s))[:2] == ("settled", "rejected")
    assert len(world.source.executed) == 1
    assert (await world.staged(row))["name"] == "mine", "what was executed is told to the devices all the same"


async def test_closing_retrying_and_playing_at_once_ends_with_one_verdict(world: World) -> None:
    await world.make()
    rows = [world.contact() for _ in range(12)]
    await world.stage(*rows)
    sets = [await world.send(upd(row, name="mine")) for row in rows]
    numbers = [n for (n,) in await world.db.fetch("select number from satchel.edit_set order by number")]

    async def administrate() -> None:
        for number in numbers:
            async with world.db.transaction() as connection:
                await try_again(connection, [number])
            async with world.db.transaction() as connection:
                await close_sets(connection, [number, *numbers[::-1]][:3], message="no", even_if_executed=False)
            await asyncio.sleep(0)

    await asyncio.gather(world.play(), administrate(), administrate())
    await world.play()
    for s, row in zip(sets, rows, strict=True):
        verdict = (await world.state(s))[1]
        name = world.source.data["contact", (row["id"],)]["name"]
        assert (verdict, name) in {("accepted", "mine"), ("rejected", "Ann")}
    assert len(world.source.executed) == sum([(await world.state(s))[1] == "accepted" for s in sets])


async def test_a_row_may_be_referred_to_where_the_roles_allow_it_for_that_row(world: World) -> None:
    """AppendTo one's own accounts only: another's account is refused before the source is asked."""
    items = [item(n, rows=["all"], owner="owner", unit="unit") for n in ("contact", "account")]
    scope = compiled(profile(*items, principals=PRINCIPALS))
    scope.rights["account"] = {Right.APPEND_TO: "account.append_to"}  # type: ignore[index]
    await world.org.make(scope, NOW)
    role = gid()
    await world.org.change("user", [{"id": USER, "name": "u", "unit": UNIT, "disabled": False}])
    await world.org.change("role", [{"id": role, "name": "r", "inherits": 0}])
    await world.org.change("userrole", [{"id": gid(), "user": USER, "role": role}])
    depths = {"contact": 8, "account": 8, "account.append_to": 1}
    await world.org.change(
        "privilege", [{"id": gid(), "role": role, "entity": name, "depth": depth} for name, depth in depths.items()]
    )
    blank = {"name": "a", "unit": UNIT, "industry": 1, "parent": None, "modified": None, "secret": None}
    own, foreign = [{**blank, "id": gid(), "owner": each} for each in (USER, gid())]
    await world.org.change("account", [own, foreign])
    rows = [world.contact(), world.contact()]
    await world.stage(*rows)
    taken, refused = [
        await world.send(upd(row, account=account["id"])) for row, account in zip(rows, (own, foreign), strict=True)
    ]
    await world.play()
    state = await world.state(refused)
    assert ((await world.state(taken))[1], state[1]) == ("accepted", "rejected"), state
    assert '"reason":"privilege"' in state[2]
    assert world.source.plays == 1
