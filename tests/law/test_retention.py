"""What is gone is forgotten in time, and nobody keeps a row for it: who was away longer than that loads anew."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from satchel.database.pool import Database
from satchel.jobs.retire import retire
from tests.law.test_scopes import PRINCIPALS, START, World, compiled, item, profile
from tests.support.edits.phone import Phone
from tests.support.field_organization import StagedOrganization
from tests.support.line_device import Line, LineDevice

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=31)
OWNER, UNIT = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
HISTORIES = 2


def contact(number: int, **values: Any) -> dict[str, Any]:
    key = f"00000000-0000-4000-8000-{number:012}"
    row = {"id": key, "name": f"c{number}", "owner": OWNER, "unit": UNIT, "status": 1, "account": None, "due": None}
    return row | values


class ResettingDevice(LineDevice):
    """Sweeps what a reset did not put again."""

    def __init__(self, user: str) -> None:
        super().__init__(user)
        self.resets = 0
        self._put: set[tuple[str, Any]] | None = None

    def _apply_one(self, line: Line) -> None:
        if line.get("begin", {}).get("reset"):
            self.resets += 1
            self._put = set()
            line = {"begin": line["begin"] | {"reset": False}}
        if "put" in line and self._put is not None:
            keys = [line["columns"].index(name) for name in self.keys[line["put"]]]
            for row in line["rows"]:
                self._put.add((line["put"], row[keys[0]] if len(keys) == 1 else tuple(row[at] for at in keys)))
        super()._apply_one(line)

    def apply(self, lines: list[Line]) -> bool:
        is_end = super().apply(lines)
        if is_end and self._put is not None:
            for entity, rows in self.rows.items():
                for key in [key for key in rows if (entity, key) not in self._put]:
                    del rows[key]
            self._put = None
        return is_end


@pytest.fixture
async def staged(staging: Database) -> StagedOrganization:
    made = StagedOrganization(staging)
    await made.make(compiled(profile(item("contact", rows=["own"]))), NOW)
    await made.change("user", [{"id": OWNER, "name": "Ann", "unit": UNIT, "disabled": False}])
    await made.change("contact", [contact(number) for number in range(10)])
    return made


async def counts(staging: Database) -> tuple[int, int]:
    """Tombstones, and removed rows that keep their keys."""
    members = await staging.fetch("select count(*) from satchel.member where not is_live")
    rows = await staging.fetch("select count(*) from staging.contact where not _live")
    return members[0][0], rows[0][0]


async def test_who_comes_in_time_gets_what_went_and_who_does_not_loads_anew(
    staging: Database, staged: StagedOrganization
) -> None:
    away, regular = ResettingDevice(OWNER), ResettingDevice(OWNER)
    await away.sync(staging)
    await regular.sync(staging)
    await staged.change("contact", removed=[(contact(0)["id"],), (contact(1)["id"],)])
    await retire(staged.work, NOW)  # notes where the head stands
    assert await counts(staging) == (2, 2)
    await regular.sync(staging)
    assert (len(regular.rows["contact"]), regular.resets) == (8, 0)

    assert await retire(staged.work, LATER) == 2
    assert await counts(staging) == (0, 0)
    await staged.change("contact", [contact(20)])
    for device in (away, regular):
        await device.sync(staging)
        assert device.rows["contact"].keys() == {contact(number)["id"] for number in (*range(2, 10), 20)}
    assert (away.resets, regular.resets) == (1, 0)
    await away.sync(staging)
    assert away.resets == 1


async def test_what_is_young_is_kept(staging: Database, staged: StagedOrganization) -> None:
    await retire(staged.work, NOW)
    await staged.change("contact", removed=[(contact(0)["id"],)])
    assert await retire(staged.work, LATER) == 0
    assert await counts(staging) == (1, 1)
    assert await retire(staged.work, LATER + timedelta(days=31)) == 1


async def test_a_row_that_comes_again_is_a_row_again(staging: Database, staged: StagedOrganization) -> None:
    device = ResettingDevice(OWNER)
    await device.sync(staging)
    await staged.change("contact", removed=[(contact(0)["id"],)])
    await retire(staged.work, NOW)
    await staged.change("contact", [contact(0, name="again")])
    await retire(staged.work, LATER)
    await device.sync(staging)
    assert device.rows["contact"][contact(0)["id"]]["name"] == "again"
    assert len(device.rows["contact"]) == 10


async def test_retired_families_go_with_their_members(staging: Database, staged: StagedOrganization) -> None:
    away = ResettingDevice(OWNER)
    await away.sync(staging)
    await staged.publish(compiled(profile(item("contact", rows=["own"], filter="status eq 1"))), NOW)
    await staged.change("contact", [contact(3, status=2)])
    await retire(staged.work, NOW)
    assert (await staging.fetch("select count(*) from satchel.family where state = 'retired'"))[0][0] == 1
    await retire(staged.work, LATER)
    assert (await staging.fetch("select count(*) from satchel.family where state = 'retired'"))[0][0] == 0
    assert (await staging.fetch("select count(*) from satchel.member"))[0][0] == 9
    await away.sync(staging)
    assert (len(away.rows["contact"]), away.resets) == (9, 1)


async def test_edits_that_wait_survive_loading_anew(
    staging: Database, staged: StagedOrganization, tmp_path: Path
) -> None:
    phone = Phone("phone", OWNER, tmp_path, staging)
    assert await phone.download()
    kept, gone = contact(4)["id"], contact(5)["id"]
    phone.edit(lambda changes: changes.update("contact", kept, name="mine"))
    phone.edit(lambda changes: changes.update("contact", gone, name="mine too"))
    await staged.change("contact", [contact(4, name="theirs", status=7)], removed=[(gone,)])
    await retire(staged.work, NOW)
    await retire(staged.work, LATER)
    await staged.change("contact", [contact(6, name="later")])

    assert await phone.download()
    rows = phone.table(["id", "name", "status"])
    assert rows[kept] == {"id": kept, "name": "mine", "status": 7}
    assert gone not in rows
    assert len(phone.pending()) == 2
    phone.close()


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_whatever_is_forgotten_devices_hold_what_they_may(seed: int, staging: Database) -> None:
    r = random.Random(7000 + seed)
    world = World(r, StagedOrganization(staging))
    await world.staged.make(compiled(profile(item("product", rows=["all"]), principals=PRINCIPALS)), START)
    world.text = world.profiles()[1]
    await world.start()
    devices = [ResettingDevice(user) for user in world.o.rows["user"]]
    await world.publish([])
    clock, work = START, msgspec.structs.replace(world.staged.work, retention_days=5)
    for _ in range(50):
        chance = r.random()
        if chance < 0.05:
            await world.publish([])
        elif chance < 0.25:
            clock += timedelta(days=r.randint(1, 20))
            await retire(work, clock)
        elif chance < 0.85:
            await world.data()
        else:
            await world.check(r.choice(devices))
    for device in devices:
        await world.check(device)
    assert sum(device.resets for device in devices) > 0


async def test_no_member_stands_without_its_bucket(staging: Database, staged: StagedOrganization) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        await staging.fetch(
            "insert into satchel.member (row_id, bucket, op, is_live, content, family) values (1, 999, 1, true, 1, 1)"
        )

    assert await staging.fetch("select bucket from satchel.member")
    await staging.fetch("delete from satchel.bucket returning id")

    assert await staging.fetch("select bucket from satchel.member") == []
