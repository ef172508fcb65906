"""Edit sets that come late: after another version was settled, after a long time in a drawer; and what is said of rows
that left their user meanwhile."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from satchel.journal.look import Show
from satchel.journal.receive import receive
from satchel.journal.rows import row_name
from satchel.model.edits import Receipt, Verdict
from satchel.model.metadata import Right
from satchel.staging.head import read_scope
from tests.law.edits.test_closed import again, close, conflict, numbers, told
from tests.support.edits.world import NOW, UNIT, USER, World, gid, upd
from tests.support.field_organization import PRINCIPALS, compiled, item, profile


async def hand_over(world: World, set_id: str, version: int, *edits: dict[str, Any]) -> Receipt:
    async with world.db.connection() as c:
        model = (await read_scope(c)).client_model
    listed = [{"id": gid(), "entity": "contact", **each} for each in edits]
    body = {"id": set_id, "version": version, "made_at": "x", "edits": listed}
    raw = msgspec.Raw(json.dumps(body).encode())
    received = await receive(world.db, [raw], model, device="d", user_id=USER, max_unsettled=9)
    return received.receipts[0]


async def test_a_corrected_version_that_comes_too_late_is_told_from_the_same_once_more(world: World) -> None:
    """Refused; corrected on the device while an administrator had it tried again as it was."""
    await world.make()
    theirs = await conflict(world)
    back = dict(world.source.put("contact", id=theirs["id"], name="Ann"))
    await world.stage(back)
    assert await again(world, *await numbers(world, Show.STUCK))
    await world.play()
    (outcome,) = await told(world)
    same = await hand_over(world, outcome.set, 2, upd(back, name="mine"))
    assert (same.verdict, same.is_other) == (Verdict.ACCEPTED, False)
    corrected = await hand_over(world, outcome.set, 2, upd(back, name="corrected"))
    assert (corrected.verdict, corrected.is_other) == (Verdict.ACCEPTED, True)
    behind = await world.send({**upd(back, name="corrected"), "after": outcome.set})
    await world.play()
    assert (await world.state(behind))[1] == "accepted"  # its own earlier version is no others' change
    assert world.source.data["contact", (theirs["id"],)]["name"] == "corrected"


async def test_what_was_executed_is_not_executed_again_after_months_in_a_drawer(world: World) -> None:
    await world.make(conflicts="device")
    row = world.contact()
    await world.stage(row)
    edit = {**upd(row, name="B"), "id": gid()}
    s = await world.send(edit)
    await world.play()
    await world.stage(dict(world.source.put("contact", id=row["id"], name="theirs")))
    await world.db.fetch("update satchel.edit_set set settled_at = now() - interval '91 days' returning 1")
    await world.play()
    assert await numbers(world, Show.ALL) == []  # nothing of the row is kept
    assert [(each.set, each.verdict) for each in await told(world)] == [(s, Verdict.ACCEPTED)]
    receipt = await hand_over(world, s, 1, edit)
    assert receipt.verdict is Verdict.ACCEPTED
    await world.play()
    assert world.source.data["contact", (row["id"],)]["name"] == "theirs"


async def test_what_was_closed_stays_closed_after_months_in_a_drawer(world: World) -> None:
    await world.make()
    await conflict(world)
    await close(world, *await numbers(world, Show.STUCK))
    (outcome,) = await told(world)
    await world.db.fetch("update satchel.edit_set set settled_at = now() - interval '91 days' returning 1")
    await world.play()
    assert await told(world) == [outcome]
    key = {"key": [gid()], "action": "create", "values": {"name": "x"}}
    assert await hand_over(world, outcome.set, 1, key) == Receipt(outcome.set, 1)
    assert await hand_over(world, outcome.set, 2, key) == Receipt(outcome.set, 2)  # the user takes it up
    await world.play()
    assert (await world.state(outcome.set))[1] == "accepted"


async def test_nothing_is_told_of_a_row_that_left_its_user_while_nobody_knew(world: World) -> None:
    await world.make(rows=["own"], owner="owner")
    row = world.contact()
    await world.stage(row)
    world.source.modes = ["lost_before"]
    s = await world.send(upd(row, name="B"))
    await world.play()
    await world.stage(dict(world.source.put("contact", id=row["id"], name="secret", owner=gid())))
    await world.play()
    state = await world.state(s)
    assert state[1] == "conflict"
    assert "secret" not in state[2]


async def test_text_that_looks_like_an_escaped_nul_is_text(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    s = await world.send(upd(row, name=r"a \u0000 in \\u0000"))
    await world.play()
    assert (await world.state(s))[1] == "accepted"
    for body in (r'"\u0000"', r'"\\\u0000"'):
        refused = await hand_over(world, gid(), 1, upd(row, name=json.loads(body)))
        assert "NUL" in refused.refusal


async def test_a_row_may_refer_to_others_where_its_own_depth_allows(world: World) -> None:
    """Writing everything, appending to one's own rows only."""
    contact, account = item("contact", rows=["all"], owner="owner", unit="unit"), item("account", rows=["all"])
    scope = compiled(profile(contact, account, principals=PRINCIPALS))
    rights = {"contact": {Right.WRITE: "contact.write", Right.APPEND: "contact.append"}}
    await world.org.make(msgspec.structs.replace(scope, rights=rights), NOW)
    role, target = gid(), gid()
    await world.org.change("user", [{"id": USER, "name": "u", "unit": UNIT, "disabled": False}])
    await world.org.change("role", [{"id": role, "name": "r", "inherits": 0}])
    await world.org.change("userrole", [{"id": gid(), "user": USER, "role": role}])
    depths = {"contact": 8, "contact.write": 8, "contact.append": 1, "account": 8}
    await world.org.change(
        "privilege", [{"id": gid(), "role": role, "entity": name, "depth": depth} for name, depth in depths.items()]
    )
    await world.org.change("account", [{"id": target, "name": "a", "owner": USER, "unit": UNIT}])
    own, foreign = world.contact(), world.contact(owner=gid())
    await world.stage(own, foreign)
    refused, taken = [await world.send(upd(each, account=target)) for each in (foreign, own)]
    await world.play()
    state = await world.state(refused)
    assert (state[1], (await world.state(taken))[1]) == ("rejected", "accepted"), state
    assert "Append" in state[2]


def test_what_is_known_of_rows_whose_keys_differ_in_case_is_kept_apart() -> None:
    assert row_name("product", ("A", "1")) != row_name("product", ("a", "1"))


@pytest.mark.parametrize(("policy", "verdict", "name"), [("merge", "conflict", "C"), ("device", "accepted", "B")])
async def test_what_is_so_in_staging_only_is_not_taken_for_done(
    world: World, policy: str, verdict: str, name: str
) -> None:
    """Others set what the edit sets, and then something else that was not read yet."""
    await world.make(conflicts=policy)
    row = world.contact()
    await world.stage(row)
    s = await world.send(upd(row, name="B"))
    await world.stage(dict(world.source.put("contact", id=row["id"], name="B")))
    world.source.put("contact", id=row["id"], name="C")
    await world.play()
    assert ((await world.state(s))[1], world.source.data["contact", (row["id"],)]["name"]) == (verdict, name)
