"""What a device holds is what the scope says: after random histories, syncs in pieces, and interruptions anywhere."""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

import pytest

from satchel.database.pool import Database
from satchel.sync.cursor import CursorSeal, CursorState
from satchel.sync.download import StepLimits, download
from tests.support.tables import CONTACT, MEMBERSHIP, PRODUCT, USER, change, scope_of, set_up

HISTORIES = 8
STEPS = 30
SCOPE = scope_of()


def guid(r: random.Random) -> str:
    return str(uuid.UUID(int=r.getrandbits(128), version=4))


class World:
    """The source's rows, as plain Python, and who may see which."""

    def __init__(self, r: random.Random) -> None:
        self.r = r
        self.units, self.teams = [guid(r) for _ in range(3)], [guid(r) for _ in range(4)]
        self.users = {guid(r): {"unit": r.choice(self.units), "disabled": False} for _ in range(4)}
        self.members: dict[str, tuple[str, str]] = {}
        self.contacts: dict[str, dict[str, Any]] = {}
        self.products: dict[tuple[str, int], dict[str, Any]] = {}

    def visible_contacts(self, user: str) -> dict[str, dict[str, Any]]:
        """One row at a time, by the words of the profile: own, team or unit."""
        seen = {}
        for key, row in self.contacts.items():
            is_own = row["owner"] == user
            is_team = any(member == user and team == row["owner"] for member, team in self.members.values())
            is_unit = row["unit"] is not None and row["unit"] == self.users[user]["unit"]
            if not self.users[user]["disabled"] and (is_own or is_team or is_unit):
                seen[key] = row
        return seen

    def visible_products(self, user: str) -> dict[tuple[str, int], dict[str, Any]]:
        return {} if self.users[user]["disabled"] else self.products


class Device:
    """Applies lines as the protocol says: what stands before a cursor counts together with it, the rest is dropped."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.seal = CursorSeal(b"k" * 32, "org", f"device of {user}")
        self.cursor: str | None = None
        self.model: str | None = None
        self.rows: dict[str, dict[Any, list[Any]]] = {"contact": {}, "product": {}}

    def apply(self, lines: list[dict[str, Any]]) -> bool:
        waiting: list[dict[str, Any]] = []
        for line in lines:
            if "cursor" in line or "end" in line:
                for one in waiting:
                    self._apply_one(one)
                waiting = []
                self.cursor = line["cursor"] if "cursor" in line else line["end"]["cursor"]
                if "end" in line:
                    return True
            else:
                waiting.append(line)
        return False

    def _apply_one(self, line: dict[str, Any]) -> None:
        if "begin" in line:
            assert line["begin"]["reset"] is False
            self.model = line["begin"]["model"]
        if "put" in line:
            width = 2 if line["put"] == "product" else 1
            for row in line["rows"]:
                self.rows[line["put"]][row[0] if width == 1 else tuple(row[:2])] = row
        if "remove" in line:
            for key in line["keys"]:
                self.rows[line["remove"]].pop(tuple(key) if isinstance(key, list) else key, None)
        for name in line.get("wipe", []):
            self.rows[name].clear()


async def act(world: World, database: Database) -> None:
    """One random change of data or security."""
    r = world.r
    kind = r.choice(["contacts", "contacts", "contacts", "remove", "products", "member", "user"])
    if kind == "contacts":
        keys = r.sample(sorted(world.contacts), min(len(world.contacts), r.randint(0, 5)))
        rows = []
        for key in [*keys, *(guid(r) for _ in range(r.randint(0, 6)))]:
            owner = r.choice([*world.users, *world.teams])
            row = {"id": key, "name": f"n{r.randint(0, 99)}", "credit": f"{r.randint(0, 9999)}.50",
                   "owner": owner, "unit": r.choice([*world.units, None])}  # fmt: skip
            world.contacts[key] = row
            rows.append(row)
        await change(database, SCOPE, CONTACT, rows)
    elif kind == "remove":
        keys = r.sample(sorted(world.contacts), min(len(world.contacts), r.randint(1, 4)))
        for key in keys:
            del world.contacts[key]
        await change(database, SCOPE, CONTACT, removed=[(key,) for key in keys])
    elif kind == "products":
        row = {"code": f"p{r.randint(0, 5)}", "size": r.randint(1, 3), "name": f"n{r.randint(0, 99)}"}
        world.products[row["code"], row["size"]] = row
        await change(database, SCOPE, PRODUCT, [row])
    elif kind == "member":
        if world.members and r.random() < 0.5:
            key = r.choice(sorted(world.members))
            del world.members[key]
            await change(database, SCOPE, MEMBERSHIP, removed=[(key,)])
        else:
            key, user, team = guid(r), r.choice(sorted(world.users)), r.choice(world.teams)
            world.members[key] = (user, team)
            await change(database, SCOPE, MEMBERSHIP, [{"id": key, "user": user, "team": team}])
    else:
        user = r.choice(sorted(world.users))
        world.users[user] = {"unit": r.choice(world.units), "disabled": r.random() < 0.2}
        await change(database, SCOPE, USER, [{"id": user, "name": "u", **world.users[user]}])


async def sync(device: Device, database: Database, r: random.Random, world: World) -> None:
    """Sync to the end, cut off at random places; data changes meanwhile."""
    limits = StepLimits(rows_per_step=r.choice([1, 3, 7, 1000]), rows_per_line=r.choice([1, 3]))
    for _ in range(2000):
        state: CursorState | None = device.seal.open(device.cursor) if device.cursor else None
        batches = download(database, device.user, state, device.model, limits=limits, seal=device.seal.seal)
        lines: list[dict[str, Any]] = []
        async for batch in batches:
            lines += [json.loads(line) for line in batch.splitlines()]
            if r.random() < 0.2:
                await act(world, database)
            if r.random() < 0.3:
                lines = lines[: r.randint(0, len(lines))]
                break
        await batches.aclose()  # type: ignore[attr-defined]
        if device.apply(lines):
            return
    raise AssertionError("the sync does not come to an end")


def held_as_source(device: Device, name: str) -> dict[Any, dict[str, Any]]:
    columns = [a.name for a in (CONTACT if name == "contact" else PRODUCT).attributes]
    return {key: dict(zip(columns, row, strict=True)) for key, row in device.rows[name].items()}


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_a_device_holds_exactly_what_its_user_may_see(seed: int, staging: Database) -> None:
    r = random.Random(seed)
    world = World(r)
    await set_up(staging, SCOPE)
    users = [{"id": user, "name": "u", **values} for user, values in world.users.items()]
    await change(staging, SCOPE, USER, users)
    devices = [Device(user) for user in world.users]
    for _ in range(STEPS):
        await act(world, staging)
        if r.random() < 0.5:
            device = r.choice(devices)
            await sync(device, staging, r, world)
    for device in devices:
        quiet = random.Random(1)
        quiet.random = lambda: 1.0  # type: ignore[method-assign]
        await sync(device, staging, quiet, world)
        assert held_as_source(device, "contact") == world.visible_contacts(device.user), f"seed {seed}"
        assert held_as_source(device, "product") == world.visible_products(device.user), f"seed {seed}"
