"""What a verdict tells of a row that has left its user since it was given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from satchel.database.pool import Database
from tests.support.edits.phone import Phone
from tests.support.edits.world import NOW, UNIT, USER, World
from tests.support.field_organization import compiled, item, profile

COLUMNS = ["name", "owner", "status"]


@pytest.fixture
async def world(staging: Database) -> World:
    world = World(staging)
    await world.org.make(compiled(profile(item("contact", rows=["own"], columns=COLUMNS, conflicts="ask"))), NOW)
    await world.org.change("user", [{"id": USER, "name": "u", "unit": UNIT, "disabled": False}])
    return world


@pytest.fixture
async def phone(world: World, tmp_path: Path) -> AsyncIterator[Phone]:
    opened = Phone("d", USER, tmp_path, world.db)
    yield opened
    opened.close()


async def conflict(world: World, phone: Phone) -> dict[str, Any]:
    """A row of the user's that both sides have changed; its verdict waits for the device."""
    row = world.contact()
    await world.stage(row)
    await phone.download()
    phone.edit(lambda changes: changes.update("contact", row["id"], name="mine"))
    await phone.upload()
    theirs = world.source.put("contact", id=row["id"], name="theirs")
    await world.stage(theirs)
    await world.play()
    return theirs


async def test_what_is_theirs_still_is_told(world: World, phone: Phone) -> None:
    theirs = await conflict(world, phone)
    await phone.download()
    (outcome,) = phone.outcomes
    assert outcome["verdict"] == "conflict"
    assert outcome["edits"][0]["theirs"] == {n: theirs[n] for n in ("id", *COLUMNS)}


async def test_what_left_is_told_to_nobody(world: World, phone: Phone) -> None:
    theirs = await conflict(world, phone)
    await world.stage({**theirs, "owner": "00000000-0000-4000-8000-0000000000ff"})
    await phone.download()
    (outcome,) = phone.outcomes
    assert outcome["verdict"] == "conflict"
    assert "theirs" not in outcome["edits"][0]


async def test_a_column_that_was_taken_away_is_told_to_nobody(world: World, phone: Phone) -> None:
    await conflict(world, phone)
    kept = [name for name in COLUMNS if name != "status"]
    await world.org.publish(compiled(profile(item("contact", rows=["own"], columns=kept, conflicts="ask"))), NOW)
    await phone.download()
    (outcome,) = phone.outcomes
    assert set(outcome["edits"][0]["theirs"]) == {"id", *kept}
