"""A token is believed without SQL, and a block acts at once: also where its notification is late or lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from satchel.database.pool import Database
from satchel.errors import TokenInvalid, WipeOrdered
from satchel.http.auth import DeviceAuth
from satchel.provisioning.devices import Devices
from satchel.provisioning.organizations import Organization, Organizations
from satchel.sync.known_devices import DEVICE_CHANNEL, TRUST_SECONDS, KnownDevices


class Counting(Devices):
    """The register, with a count of what is asked of it."""

    asked = 0

    async def by_token(self, token: str) -> object:  # type: ignore[override]
        self.asked += 1
        return await super().by_token(token)


class Register:
    """A register with one organization and one device, and what a sync server knows of it."""

    def __init__(self, control: Database) -> None:
        self.devices = Counting(control)
        self.seconds = 100.0
        self.known = KnownDevices(self.devices, lambda: self.seconds)
        self.auth = DeviceAuth(self.devices, self.known)
        self.control = control

    async def enroll(self) -> None:
        await self.control.fetch(
            "insert into satchel.organization (name, source_kind, source_url, connection, database_name)"
            " values ('o', 'odata', '', '', 'd')"
        )
        self.organization: Organization = await Organizations(self.control).get("o")
        code = await self.devices.make_code(self.organization, "u", "U", lifetime_seconds=60)
        device, self.token = await self.devices.enroll("o", code, "phone")
        self.device_id = device.id

    async def come(self, times: int = 1) -> None:
        for _ in range(times):
            await self.auth.device(f"Bearer {self.token}", "o")


@pytest.fixture
async def register(control: Database) -> Register:
    made = Register(control)
    await made.enroll()
    await made.known.confirm()
    return made


@pytest.fixture
async def notices(control: Database) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(control.url, autocommit=True) as connection:
        await connection.execute(f"listen {DEVICE_CHANNEL}")
        yield connection


async def told(notices: psycopg.AsyncConnection) -> str:
    async for notice in notices.notifies(timeout=20, stop_after=1):
        return notice.payload
    raise AssertionError("nothing was told")


async def test_a_known_token_costs_no_sql(register: Register) -> None:
    await register.come(50)
    assert register.devices.asked == 1
    await register.known.note_seen()
    assert (await register.devices.of_organization(register.organization))[0].last_seen_at is not None
    await register.known.confirm()  # to have been seen is no change of who is let in
    await register.come()
    assert register.devices.asked == 1


async def test_a_block_acts_with_its_notification(register: Register, notices: psycopg.AsyncConnection) -> None:
    await register.come()
    await register.devices.block(register.organization, register.device_id, is_blocked=True)
    assert register.known.take_notice(await told(notices)) == register.device_id
    with pytest.raises(TokenInvalid):
        await register.come()
    await register.devices.block(register.organization, register.device_id, is_blocked=False)
    register.known.take_notice(await told(notices))
    await register.come()


async def test_a_wipe_whose_notification_is_lost_acts_with_the_next_look(register: Register) -> None:
    await register.come()
    await register.devices.wipe(register.organization, register.device_id)
    await register.known.confirm()
    with pytest.raises(WipeOrdered):
        await register.come()


async def test_without_any_word_of_the_register_nobody_is_believed_for_long(register: Register) -> None:
    await register.come()
    await register.devices.block(register.organization, register.device_id, is_blocked=True)
    register.seconds += TRUST_SECONDS
    with pytest.raises(TokenInvalid):
        await register.come()


async def test_what_was_read_before_a_block_is_not_kept_behind_it(register: Register) -> None:
    class Slow(Counting):
        async def by_token(self, token: str) -> object:  # type: ignore[override]
            device = await super().by_token(token)
            has_read.set()
            await may_return.wait()
            return device

    has_read, may_return = asyncio.Event(), asyncio.Event()
    register.known._devices = Slow(register.control)
    coming = asyncio.create_task(register.come())
    await has_read.wait()
    await register.devices.block(register.organization, register.device_id, is_blocked=True)
    revision = await register.devices.revision()
    assert register.known.take_notice(f"{revision} {register.device_id}") == register.device_id
    may_return.set()
    await coming  # it was let in by what stood when it came
    with pytest.raises(TokenInvalid):
        await register.come()


async def test_a_notification_that_was_skipped_forgets_everyone(register: Register) -> None:
    await register.come()
    revision = await register.devices.revision()
    assert register.known.take_notice(f"{revision + 2} another") is None
    await register.come()
    assert register.devices.asked == 2


async def test_a_device_that_is_gone_is_not_known_any_more(register: Register) -> None:
    await register.come()
    await register.control.fetch("delete from satchel.device")
    await register.known.confirm()
    with pytest.raises(TokenInvalid):
        await register.come()
