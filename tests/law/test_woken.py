"""Of fifty devices that wait at a real server, a change of roles, shares or owners answers those it concerns; all the
others go on waiting, and nothing is read for any of them alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from granian.constants import Interfaces
from granian.server.embed import Server

from satchel.database.pool import Database
from satchel.http.auth import DeviceAuth
from satchel.http.polls import Polls
from satchel.http.sync import SyncServing
from satchel.jobs.organization import notify_head
from satchel.protocol.messages import Lease
from satchel.provisioning.organizations import Organization
from satchel.staging.head import read_head
from satchel.sync.heads import listen_for_heads
from satchel.sync.known_devices import KnownDevices
from satchel.sync.served import ServedOrganizations
from satchel.sync.standing import Standing, Waiter
from satchel.sync.step import StepLimits
from tests.law.test_costs import NOW, UNIT, Counted, CountingCursor, Keys, Register, contact, guid, line_device
from tests.support.field_organization import PRINCIPALS, StagedOrganization, compiled, item, profile
from tests.support.free_ports import free_port
from tests.support.line_device import LineDevice
from tests.support.serving import eventually_serves

DEVICES = 50
OWN, ALL = guid(3, 1), guid(3, 2)
"""Roles."""


class Organizations:
    """The one organization, served."""

    async def find(self, name: str) -> Organization:
        return Organization(1, name, "active", "odata", "", b"", [], "o", None, NOW)


class Crowd:
    """Devices of fifty users, each with a request under way."""

    def __init__(self, url: str, served: ServedOrganizations, staged: StagedOrganization) -> None:
        limits = httpx.Limits(max_connections=2 * DEVICES)
        self.client = httpx.AsyncClient(base_url=url, limits=limits, timeout=120, trust_env=False)
        self.served, self.staged = served, staged
        self.devices = [line_device(number) for number in range(DEVICES)]
        self.waiting: dict[int, asyncio.Task[None]] = {}

    async def sync(self, number: int, wait: int = 0) -> None:
        device = self.devices[number]
        answer = await self.client.post(
            f"/v1/orgs/o/sync?wait={wait}",
            json={"cursor": device.cursor, "model": device.model},
            headers={"authorization": f"Bearer {number}", "accept-encoding": "gzip"},
        )
        assert answer.status_code == 200, answer.text
        assert device.apply([json.loads(line) for line in answer.text.splitlines()])

    async def wait(self, numbers: set[int]) -> None:
        """Let these wait, until the server has all of them and knows whose they are."""
        for number in numbers:
            self.waiting[number] = asyncio.create_task(self.sync(number, wait=60))
        while self.served.heads.standing("o") is None or len(self.waiters()) < DEVICES or not self.is_still():
            await asyncio.sleep(0.002)
            for task in self.waiting.values():
                assert not task.done(), task.result()

    def is_still(self) -> bool:
        """All is read that is to be read."""
        return self.standing.is_settled and not self.standing.has_strangers and not self.served._settling

    @property
    def standing(self) -> Standing:
        standing = self.served.heads.standing("o")
        assert standing is not None
        return standing

    def waiters(self) -> dict[int, Waiter]:
        return {int(name): waiter for name, (waiter,) in self.standing._by_device.items() if not waiter.woken.done()}

    async def answered(self, concerned: set[int]) -> int:
        """Wait until these were answered; nobody else was woken. The statements that took."""
        before, CountingCursor.count = self.waiters(), 0
        async with self.staged.database.connection() as connection:
            head = await read_head(connection)
        await notify_head(self.staged.database, "o", head)
        await asyncio.gather(*(self.waiting[number] for number in concerned))
        while not (self.standing.head == head and self.is_still()):  # noqa: ASYNC110 - the server's own state
            await asyncio.sleep(0.002)
        count, now = CountingCursor.count, self.waiters()
        assert {number for number, waiter in before.items() if now.get(number) is not waiter} == concerned
        assert {number for number, task in self.waiting.items() if task.done()} == concerned
        return count


@pytest.fixture
async def crowd(staging: Database) -> AsyncIterator[Crowd]:
    staged = StagedOrganization(staging)
    await staged.make(compiled(profile(item("contact", rows=["all"]), principals=PRINCIPALS)), NOW)
    users = [{"id": guid(1, n), "name": "u", "unit": UNIT, "disabled": False} for n in range(DEVICES)]
    await staged.change("unit", [{"id": UNIT}])
    await staged.change("user", users)
    await staged.change("role", [{"id": role, "name": "r", "inherits": 0} for role in (OWN, ALL)])
    await staged.change("userrole", [tie(n, OWN) for n in range(DEVICES)])
    depths = {OWN: 1, ALL: 8}
    await staged.change("privilege", [
        {"id": guid(5, depth), "role": role, "entity": "contact", "depth": depth} for role, depth in depths.items()
    ])  # fmt: skip
    await staged.change("contact", [contact(number, owner=guid(1, number)) for number in range(DEVICES)])
    register: Any = Register()
    known = KnownDevices(register)
    served = ServedOrganizations(Organizations(), lambda _: Counted(staging.url, pool_size=4))  # type: ignore[arg-type]
    serving = SyncServing(
        auth=DeviceAuth(register, known), devices=register, served=served, cursor_keys=Keys(),  # type: ignore[arg-type]
        limits=StepLimits(5_000, 1_000), compression_level=3, lease=Lease(0, "lock"), images=None, ca_file=None,  # type: ignore[arg-type]
    )  # fmt: skip
    port = free_port()
    server = Server(
        Polls(serving, 1_000_000, others=refused), address="127.0.0.1", port=port, interface=Interfaces.ASGINL,
        log_enabled=False,
    )  # fmt: skip
    running = [
        asyncio.ensure_future(server.serve()),
        asyncio.ensure_future(listen_for_heads(staging.url, served.heads, known)),
    ]
    await eventually_serves(port)
    made = Crowd(f"http://127.0.0.1:{port}", served, staged)
    try:
        for number in range(DEVICES):
            await made.sync(number)
        await made.wait(set(range(DEVICES)))
        yield made
    finally:
        await made.client.aclose()
        for task in made.waiting.values():
            task.cancel()
        server.stop()  # type: ignore[no-untyped-call]
        running[1].cancel()
        await asyncio.gather(*running, *made.waiting.values(), return_exceptions=True)
        await served.close()


async def refused(*_: Any) -> None:
    raise AssertionError("not a sync request")


def tie(number: int, role: str) -> dict[str, Any]:
    return {"id": guid(4, 1000 * int(role == ALL) + number), "user": guid(1, number), "role": role}


def names(device: LineDevice) -> set[str]:
    return {row["name"] for row in device.rows["contact"].values()}


async def test_only_those_concerned_are_answered(crowd: Crowd) -> None:
    staged, devices = crowd.staged, crowd.devices
    share = {"id": guid(6, 1), "row": guid(2, 3), "principal": guid(1, 4), "rights": 1}
    elsewhere = {"id": guid(7, 7)}
    steps: list[tuple[set[int], Callable[[], Awaitable[Any]]]] = [
        ({1, 2}, lambda: staged.change("userrole", [tie(1, ALL), tie(2, ALL)])),
        # The row moves to a bucket that was not there before: its owner holds the old one, the other nothing of it.
        ({1, 2, 3, 4}, lambda: staged.change("share", [share])),
        ({1, 2}, lambda: staged.change("userrole", removed=[(str(tie(n, ALL)["id"]),) for n in (1, 2)])),
        ({5, 6}, lambda: staged.change("contact", [contact(5, owner=guid(1, 6))])),
        ({7, 8}, lambda: staged.change("contact", [contact(7, owner=guid(1, 8), unit=elsewhere["id"])])),
        ({3, 4}, lambda: staged.change("share", removed=[(share["id"],)])),
        ({9}, lambda: staged.change("user", [
            {"id": guid(1, 9), "name": "u", "unit": UNIT, "disabled": True}
        ])),
        (set(), lambda: staged.change("unit", [elsewhere])),
        (set(), lambda: staged.change("contact", [contact(9, status=7)])),  # of a user who is disabled
        ({10}, lambda: staged.change("contact", [contact(10, owner=guid(1, 10), name="new")])),
    ]  # fmt: skip
    counts = []
    for concerned, change in steps:
        await change()
        counts.append(await crowd.answered(concerned))
        await crowd.wait(concerned)

    assert names(devices[1]) == {"name 1"}
    assert names(devices[6]) == {"name 5", "name 6"}
    assert names(devices[8]) == {"name 7", "name 8"}
    assert not names(devices[3]) - {"name 3"}
    assert not names(devices[4]) - {"name 4"}
    assert not names(devices[9])
    assert names(devices[10]) == {"new"}
    nobody = [count for count, (concerned, _) in zip(counts, steps, strict=True) if not concerned]
    assert max(nobody) <= 16, counts  # all fifty are read together
    assert max(counts) <= 16 + 4 * 16, counts
