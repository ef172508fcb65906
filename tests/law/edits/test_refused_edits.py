"""What a user may not do, and what cannot be read, is refused by itself and holds nothing else."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import msgspec
import pytest

from satchel.jobs.judge import Judge, Refusal
from satchel.model.edits import Action, Edit
from satchel.model.metadata import Right
from satchel.model.scope import RowOwner
from satchel.model.user import Grants, User
from tests.support.edits.world import NOW, UNIT, USER, World, base, gid, upd
from tests.support.field_organization import PRINCIPALS, compiled, item, profile


async def test_base_is_bounded_and_typed(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    world.source.put("contact", id=row["id"], name="Z")
    s = await world.send({**upd(row, name="x"), "base": {**base(row), "name": ["sNaN"], "status": {"a": 1}}})
    await world.play(2)
    assert (await world.state(s))[0] in {"held", "settled"}, await world.state(s)


@pytest.mark.parametrize(
    "edit",
    [
        {"id": gid() + "\n"},
        {"key": ["\u4e00" * 1000] * 8},
        {"after": gid() + "\n"},
        {"values": {"name": "\0"}},
        {"key": []},
        {"action": "explode"},
        {"more": 1},
    ],
)
async def test_a_set_that_cannot_be_read_is_refused_and_holds_no_other(world: World, edit: dict[str, Any]) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    with pytest.raises(AssertionError, match="Receipt"):
        await world.send({**upd(row, name="x"), **edit})
    good = await world.send(upd(row, name="y"))
    await world.play()
    assert (await world.state(good))[1] == "accepted"


async def test_a_row_is_not_made_for_another_owner_than_the_roles_allow(world: World) -> None:
    """Where the source does not impersonate, nobody else would refuse it."""
    text = profile(item("contact", rows=["all"]))
    scope = msgspec.structs.replace(compiled(text), owners={"contact": RowOwner("owner", "unit")})
    judge = Judge.__new__(Judge)
    own = User(id=USER, rights={"contact": {Right.CREATE: Grants(owners=(USER,))}})
    for owner, is_refused in ((USER, False), (gid(), True)):
        edit = Edit(id=gid(), entity="contact", key=(gid(),), action=Action.CREATE, values={"owner": owner})
        with pytest.raises(Refusal) if is_refused else contextlib.nullcontext():
            judge._require_owner(edit, scope, own)


async def test_long_reference_to_an_offered_entity(world: World) -> None:
    text = profile(item("contact", rows=["all"]), item("account", rows=["all"]))
    await world.org.make(compiled(text), NOW)
    await world.org.change("user", [{"id": USER, "name": "u", "unit": UNIT, "disabled": False}])
    row = world.contact()
    await world.stage(row)
    long = "".join(random.Random(1).choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(20000))
    refused = await world.send(upd(row, account=long))
    await world.play()
    assert (await world.state(refused))[1] == "rejected"


@pytest.mark.parametrize("part", ["\uff11", "1_0", " 1", "+1", "01"])
async def test_integer_keys(world: World, part: str) -> None:
    text = profile(item("product", rows=["all"]))
    await world.org.make(compiled(text), NOW)
    await world.org.change("user", [{"id": USER, "name": "u", "unit": UNIT, "disabled": False}])
    await world.org.change("product", [{"code": "a", "size": 1, "name": "x"}])
    s = await world.send(
        {"entity": "product", "key": ["a", part], "action": "update", "values": {"name": "y"}, "base": {}}
    )
    await world.play(2)
    state = await world.state(s)
    assert state[0] == "held", state
    assert "invalid" in state[2], state


async def test_an_edit_of_a_row_that_is_none_of_the_users_never_reaches_the_source(world: World) -> None:
    await world.make(rows=["own"], owner="owner")
    foreign = world.contact(owner=gid())
    await world.stage(foreign)
    s = await world.send(upd(foreign, name="mine"))
    await world.play()
    state = await world.state(s)
    assert state[1] == "rejected"
    assert '"reason":"scope"' in state[2]
    assert not world.source.plays


async def test_what_roles_do_not_allow_on_this_row_never_reaches_the_source(world: World) -> None:
    """Reading everything, writing one's own rows only."""
    text = profile(item("contact", rows=["all"], owner="owner", unit="unit"), principals=PRINCIPALS)
    scope = msgspec.structs.replace(compiled(text), rights={"contact": {Right.WRITE: "contact.write"}})
    await world.org.make(scope, NOW)
    role = gid()
    await world.org.change("user", [{"id": USER, "name": "u", "unit": UNIT, "disabled": False}])
    await world.org.change("role", [{"id": role, "name": "r", "inherits": 0}])
    await world.org.change("userrole", [{"id": gid(), "user": USER, "role": role}])
    depths = {"contact": 8, "contact.write": 1}
    await world.org.change(
        "privilege", [{"id": gid(), "role": role, "entity": name, "depth": depth} for name, depth in depths.items()]
    )
    own, foreign = world.contact(), world.contact(owner=gid())
    await world.stage(own, foreign)
    refused, taken = await world.send(upd(foreign, name="mine")), await world.send(upd(own, name="mine"))
    await world.play()
    state = await world.state(refused)
    assert (state[1], (await world.state(taken))[1]) == ("rejected", "accepted"), state
    assert '"reason":"privilege"' in state[2]
    assert world.source.plays == 1
