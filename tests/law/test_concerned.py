"""Only devices that a change concerns are woken, and none of them is left out: in random histories, a device that is
told nothing holds exactly what its user may have, and one that gets a change that others get as well holds it then."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from datetime import datetime

import pytest

from satchel.database.pool import Database
from satchel.protocol.codec import end_line
from satchel.protocol.messages import End, Lease
from satchel.provisioning.organizations import Organization
from satchel.staging.head import read_head
from satchel.staging.users import Users
from satchel.sync.served import ServedOrganization
from satchel.sync.settling import settle
from satchel.sync.shared import SharedChanges, news
from satchel.sync.standing import Standing
from satchel.sync.step import Caller
from tests.law.test_scopes import PRINCIPALS, START, StagedOrganization, World, compiled, item, profile
from tests.support.line_device import LineDevice

HISTORIES = int(os.environ.get("SATCHEL_TEST_CONCERNED_HISTORIES", "3"))
STEPS = 60


class Connected:
    """A sync server's view: heads as they are told, sometimes late or never."""

    def __init__(self, database: Database, world: World, r: random.Random) -> None:
        organization = Organization(1, "o", "active", "odata", "", b"", [], "", None, datetime(2026, 1, 1))
        self.served = ServedOrganization(organization, database, Users())
        self.database, self.world, self.r = database, world, r
        self.shared = SharedChanges(Lease(0, "lock"))
        self.standing: Standing | None = None
        self.ways: Counter[str] = Counter()
        self.asleep: dict[str, asyncio.Task[bool]] = {}

    async def hear(self) -> Standing:
        """The newest head comes in."""
        async with self.database.connection() as connection:
            head = await read_head(connection)
        if self.standing is None:
            self.standing = Standing(head, self.served.users)
        self.standing.take(head)
        if not self.standing.is_settled or self.standing.has_strangers:
            if self.r.random() < 0.9:
                async with self.database.snapshot() as connection:
                    await settle(connection, self.standing)
            else:  # the database does not answer: each finds out alone
                self.standing.wake_all()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return self.standing

    async def wait(self, device: LineDevice) -> None:
        """Let it wait for something new, as `http` does."""
        standing = await self.hear()
        state = device.seal.open(str(device.cursor))
        caller = Caller(device.user, device.user)
        if news(standing, state, device.model, caller) is None:
            self.asleep[device.user] = asyncio.create_task(standing.wait(state, caller, 600))
            await asyncio.sleep(0)

    async def is_asleep(self, device: LineDevice) -> bool:
        """It goes on waiting now that the newest head is known; one that does not is served next."""
        await self.hear()
        waiting = self.asleep.pop(device.user, None)
        if waiting is None:
            return False
        if not waiting.done():
            self.asleep[device.user] = waiting
            return True
        assert waiting.result()
        return False

    async def serve(self, device: LineDevice) -> None:
        """Bring a device to the head by the way that the server would choose."""
        standing = await self.hear()
        if device.cursor is not None:
            state = device.seal.open(device.cursor)
            caller = Caller(device.user, device.user)
            since = news(standing, state, device.model, caller)
            if since is None:
                self.ways["nothing"] += 1
                return
            if since >= 0:
                found = await self.shared.answer(self.served, standing, state, caller, since)
                if found is not None:
                    self.ways["shared"] += 1
                    now, lines = found
                    last = end_line(End(now.checkpoint, device.seal.seal(now)))
                    decoded = [json.loads(line) for line in (lines.lines + last).splitlines()]
                    self.world.leaks(device.user)(decoded)
                    assert device.apply(decoded)
                    return
        self.ways["download"] += 1
        await device.sync(self.database, check=self.world.leaks(device.user))

    async def check(self, device: LineDevice) -> None:
        if await self.is_asleep(device):
            self.ways["asleep"] += 1
        else:
            await self.serve(device)
            await self.wait(device)
        expected = self.world.o.visible(device.user)
        assert device.rows.keys() == expected.keys()
        for entity, rows in expected.items():
            assert device.rows[entity] == rows, (entity, self.world.text, self.ways)


async def binding(database: Database) -> int:
    async with database.connection() as connection:
        return (await read_head(connection)).binding


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_nobody_misses_a_change(seed: int, staging: Database) -> None:
    r = random.Random(1000 + seed)
    world = World(r, StagedOrganization(staging))
    await world.staged.make(compiled(profile(item("product", rows=["all"]), principals=PRINCIPALS)), START)
    world.text = world.profiles()[1]
    await world.start()
    devices = [LineDevice(user) for user in world.o.rows["user"]]
    await world.publish([])
    for _ in range(30):  # so that most buckets are there already
        await world.data()
    server = Connected(staging, world, r)
    for _ in range(STEPS):
        chance = r.random()
        if chance < 0.02:
            await world.publish([])
        elif chance < 0.05:
            await world.pass_time()
        elif chance < 0.2:
            before = await binding(staging)
            await world.security()
            server.ways["security"] += await binding(staging) != before
        else:
            await world.data()
        if r.random() < 0.9:  # else this notification is lost
            await server.hear()
        for device in r.sample(devices, 3):
            await server.check(device)
    for device in devices:
        await server.check(device)
    for waiting in server.asleep.values():
        waiting.cancel()
    assert server.ways["asleep"] > 10, server.ways
    assert server.ways["shared"] > 0 or seed > 2, server.ways
    assert server.ways["security"] > 0, server.ways
