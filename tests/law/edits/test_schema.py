"""Edits that are pending while the model changes: what was added lets them through, what vanished sends them home with
a reason - from the outbox of the device as from the journal - and nothing of what was typed is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from satchel.access.profiles import parse_profile
from satchel.access.scope import compile_profiles
from satchel.database.pool import Database
from satchel.device.edits.outbox import PendingSet, SetState
from satchel.model.edits import Reason
from satchel.model.metadata import Metadata
from satchel.model.scope import Scope
from tests.support.edits.phone import Phone
from tests.support.edits.world import NOW, UNIT, USER, World
from tests.support.field_organization import METADATA, compiled, item, profile

ALL = ["id", "name", "owner", "unit", "account", "status", "due"]
TASK = item("task", rows=["all"])


@pytest.fixture
def phone(tmp_path: Path, staging: Database) -> Iterator[Phone]:
    opened = Phone("A", USER, tmp_path, staging)
    opened.may_lose_entities = True
    yield opened
    opened.close()


def contacts(*columns: str) -> str:
    return item("contact", rows=["all"], columns=list(columns))


async def begin(world: World, phone: Phone, *items: str) -> list[dict[str, Any]]:
    """Two contacts, staged and on the device."""
    await world.org.make(compiled(profile(*items)), NOW)
    await world.org.change("user", [{"id": USER, "name": "u", "unit": UNIT, "disabled": False}])
    rows = [world.contact(), world.contact()]
    await world.stage(*rows)
    assert await phone.download()
    return rows


async def publish(world: World, scope: Scope, rows: list[dict[str, Any]]) -> None:
    """Another model comes into force; where columns came, the rows are read again."""
    await world.org.publish(scope, NOW)
    if "contact" in scope.entity_by_name:
        await world.stage(*(world.source.data["contact", (row["id"],)] for row in rows))


def edit(phone: Phone, row: dict[str, Any], **values: Any) -> int:
    pending = phone.edit(lambda changes: changes.update("contact", row["id"], values))
    assert pending is not None
    return pending.number


def found(phone: Phone) -> dict[int, PendingSet]:
    return {each.number: each for each in phone.pending()}


async def test_what_is_added_lets_pending_edits_through(world: World, phone: Phone) -> None:
    rows = await begin(world, phone, contacts("id", "name"))
    edit(phone, rows[0], name="sent")
    await phone.upload()
    edit(phone, rows[1], name="waiting")
    await publish(world, compiled(profile(contacts(*ALL), TASK)), rows)
    assert await phone.download()
    assert {each.state for each in phone.pending()} == {SetState.SENT, SetState.WAITING}
    assert phone.table(["id", "name", "status"])[rows[1]["id"]]["name"] == "waiting"
    edit(phone, rows[1], status=7)
    await phone.upload()
    await world.play()
    assert await phone.download()
    assert not phone.pending()
    assert [world.source.data["contact", (row["id"],)]["name"] for row in rows] == ["sent", "waiting"]
    assert world.source.data["contact", (rows[1]["id"],)]["status"] == 7


async def test_an_attribute_that_vanished_sends_home_what_sets_it(world: World, phone: Phone) -> None:
    rows = await begin(world, phone, contacts(*ALL))
    sent, passes = edit(phone, rows[0], status=5), edit(phone, rows[1], name="passes")
    await phone.upload()
    waiting = edit(phone, rows[1], status=6)
    await publish(world, compiled(profile(contacts("id", "name", "owner", "unit"))), rows)
    await world.play()
    assert await phone.download()
    left = found(phone)
    assert left.keys() == {sent, waiting}, passes
    outcome = left[sent].outcome
    assert outcome is not None
    assert (left[sent].state, outcome.edits[0].reason) == (SetState.REJECTED, Reason.MODEL)
    assert "status" in outcome.edits[0].message
    assert left[waiting].state is SetState.QUARANTINED
    assert "status" in (left[waiting].note or "")
    assert [each.edits[0].values for each in left.values()] == [{"status": 5}, {"status": 6}]
    assert all("status" not in (each.edits[0].base or {}) for each in left.values()), "what the server told of it went"
    assert world.source.executed == ["update contact {'name': 'passes'}"]


async def test_what_comes_back_takes_up_what_waited_for_it(world: World, phone: Phone) -> None:
    rows = await begin(world, phone, contacts(*ALL))
    number = edit(phone, rows[0], status=6)
    await publish(world, compiled(profile(contacts("id", "name", "owner", "unit"))), rows)
    assert await phone.download()
    await publish(world, compiled(profile(contacts(*ALL))), rows)
    assert await phone.download()
    assert found(phone)[number].state is SetState.QUARANTINED, "its user says when"
    phone.take_up(number, None)
    await phone.upload()
    await world.play()
    assert await phone.download()
    assert not phone.pending()
    assert world.source.data["contact", (rows[0]["id"],)]["status"] == 6


async def test_an_entity_that_vanished_takes_its_rows_and_leaves_what_was_typed(world: World, phone: Phone) -> None:
    rows = await begin(world, phone, contacts(*ALL), TASK)
    sent = edit(phone, rows[0], name="sent")
    await phone.upload()
    waiting = edit(phone, rows[1], name="waiting")
    made = phone.edit(lambda changes: changes.create("contact", {"name": "made", "owner": USER}))
    assert made is not None
    await publish(world, compiled(profile(TASK)), rows)
    await world.play()
    assert await phone.download()
    tables = {name for (name,) in phone.store.connection.execute("select name from sqlite_schema where type = 'table'")}
    assert "contact" not in tables
    left = found(phone)
    assert [left[n].state for n in (sent, waiting, made.number)] == [
        SetState.REJECTED, SetState.QUARANTINED, SetState.QUARANTINED,
    ]  # fmt: skip
    assert [left[n].edits[0].values["name"] for n in (sent, waiting, made.number)] == ["sent", "waiting", "made"]
    assert all(each.edits[0].base is None for each in left.values())
    assert not phone.store.connection.execute("select content from _satchel_image").fetchall()
    assert "Ann" not in msgspec.json.encode(list(left.values())).decode(), "nothing of the rows themselves is kept"
    assert not world.source.plays


async def test_a_narrower_type_sends_home_only_what_does_not_fit(world: World, phone: Phone) -> None:
    rows = await begin(world, phone, contacts(*ALL))
    sent = [edit(phone, rows[0], name="x" * 50), edit(phone, rows[1], name="fits")]
    await phone.upload()
    waiting = edit(phone, rows[1], name="y" * 50)
    contact = METADATA.entity_by_name["contact"]
    narrow = msgspec.structs.replace(
        contact,
        attributes=tuple(
            msgspec.structs.replace(a, max_length=20) if a.name == "name" else a for a in contact.attributes
        ),
    )
    metadata = Metadata(tuple(narrow if each.name == "contact" else each for each in METADATA.entities))
    scope = compile_profiles([parse_profile(profile(contacts(*ALL)))], metadata, "odata")
    await publish(world, scope, rows)
    await world.play()
    assert await phone.download()
    left = found(phone)
    assert left.keys() == {sent[0], waiting}
    assert [(each.state, "20 characters" in f"{each.outcome} {each.note}") for each in left.values()] == [
        (SetState.REJECTED, True),
        (SetState.QUARANTINED, True),
    ]
    assert world.source.executed == ["update contact {'name': 'fits'}"]
