"""What operations cost, counted, not timed: statements, rows touched, calls and bytes hold on any machine.

A bound that breaks says that an operation became dearer than it was. Where that is wanted, the bound moves with it.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import msgspec
import psycopg
import pytest
import zstandard
from psycopg.rows import TupleRow

from satchel.database.pool import Connection, Database
from satchel.http.auth import DeviceAuth
from satchel.http.polls import Polls
from satchel.http.sync import SyncServing
from satchel.jobs.apply import apply_page
from satchel.model.changes import Page, Strategy, Watermark
from satchel.protocol.messages import Lease
from satchel.provisioning.devices import Device
from satchel.provisioning.organizations import Organization
from satchel.staging.head import read_head
from satchel.staging.users import Users
from satchel.sync.cursor import CursorSeal
from satchel.sync.heads import Heads
from satchel.sync.known_devices import KnownDevices
from satchel.sync.served import ServedOrganization
from satchel.sync.settling import settle
from satchel.sync.step import StepLimits
from tests.support.field_organization import StagedOrganization, compiled, item, profile
from tests.support.line_device import LineDevice

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
UNIT = "22222222-2222-4222-8222-222222222222"
ROWS = 5_000
KEY = b"k" * 32


def guid(kind: int, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}/{number}"))


def contact(number: int, **values: Any) -> dict[str, Any]:
    row = {"id": guid(2, number), "name": f"name {number}", "owner": guid(1, number % 20), "unit": UNIT}
    return row | {"account": None, "status": number % 3, "due": "2026-11-23"} | values


class CountingCursor(psycopg.AsyncCursor[TupleRow]):
    """Counts what is executed."""

    count = 0

    async def execute(self, *given: Any, **more: Any) -> Any:
        CountingCursor.count += 1
        return await super().execute(*given, **more)


class Counted(Database):
    """A database whose statements count."""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        async with super().connection() as connection:
            connection.cursor_factory = CountingCursor
            try:
                yield connection
            finally:
                connection.cursor_factory = psycopg.AsyncCursor


class Served:
    """What the endpoint needs of the served organizations."""

    def __init__(self, database: Database) -> None:
        organization = Organization(1, "o", "active", "odata", "", b"", [], "", None, NOW)
        self.heads = Heads()
        self.one = ServedOrganization(organization, database, Users())

    async def get(self, name: str) -> ServedOrganization:
        return self.one

    async def settle(self, name: str) -> None:
        standing = self.heads.standing(name)
        assert standing is not None
        async with self.one.staging.snapshot() as connection:
            await settle(connection, standing)

    async def hear(self) -> None:
        async with self.one.staging.connection() as connection:
            self.heads.update("o", await read_head(connection), self.one.users)


class Register:
    """Devices by their tokens."""

    async def by_token(self, token: str) -> Device:
        return Device(token, "o", guid(1, int(token)), "user", "phone", is_blocked=False)

    async def revision(self) -> int:
        return 1


class Keys:
    """What seals cursors."""

    all = (KEY,)


class Endpoint:
    """The endpoint without a network."""

    def __init__(self, served: Served) -> None:
        register: Any = Register()
        self.known = KnownDevices(register)
        serving = SyncServing(
            auth=DeviceAuth(register, self.known),
            devices=register,
            served=served,  # type: ignore[arg-type]
            cursor_keys=Keys(),  # type: ignore[arg-type]
            limits=StepLimits(5_000, 1_000),
            compression_level=3,
            lease=Lease(0, "lock"),
            images=None,
            ca_file=None,
        )
        self.polls = Polls(serving, 1_000_000, others=self._nothing)

    async def _nothing(self, *_: Any) -> None:
        raise AssertionError("not a sync request")

    async def poll(self, device: LineDevice, token: str) -> tuple[int, bytes]:
        body = msgspec.json.encode({"cursor": device.cursor, "model": device.model})
        headers = [(b"authorization", b"Bearer " + token.encode()), (b"accept-encoding", b"zstd")]
        scope = {"type": "http", "method": "POST", "path": "/v1/orgs/o/sync", "query_string": b"", "headers": headers}
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.polls(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)

    async def sync(self, device: LineDevice, token: str) -> int:
        """Poll and apply; returns the bytes on the wire."""
        status, body = await self.poll(device, token)
        assert status == 200, body
        plain = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True).read()
        assert device.apply([json.loads(line) for line in plain.splitlines()])
        return len(body)


@pytest.fixture
async def counted(staging: Database) -> AsyncIterator[Database]:
    async with Counted(staging.url, pool_size=4) as database:
        yield database


@pytest.fixture
async def staged(staging: Database) -> StagedOrganization:
    made = StagedOrganization(staging)
    await made.make(compiled(profile(item("contact", rows=["own"]))), NOW)
    users = [{"id": guid(1, number), "name": "u", "unit": UNIT, "disabled": False} for number in range(20)]
    await made.change("user", users)
    await made.change("contact", [contact(number) for number in range(ROWS)])
    await staging.fetch("vacuum analyze")
    return made


def line_device(number: int) -> LineDevice:
    device = LineDevice(guid(1, number))
    device.seal = CursorSeal([KEY], "o", str(number))
    return device


async def test_devices_are_served_for_their_price(counted: Database, staged: StagedOrganization) -> None:
    served = Served(counted)
    endpoint = Endpoint(served)
    await served.hear()
    devices = [(line_device(number), str(number)) for number in (3, 3, 4)]
    bytes_of_first = [await endpoint.sync(*device) for device in devices]
    assert len(devices[0][0].rows["contact"]) == ROWS / 20
    assert bytes_of_first[0] / (ROWS / 20) < 60  # two GUIDs a row, one of them always the same

    await endpoint.known.confirm()
    for device in devices:  # what is known of them is from before the register was looked at
        assert (await endpoint.poll(*device))[0] == 204
    CountingCursor.count, calls = 0, 0

    def count(frame: FrameType, event: str, _: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    status, _ = await endpoint.poll(*devices[0])
    sys.setprofile(None)
    assert (status, CountingCursor.count) == (204, 0)
    assert calls < 150

    await staged.change("contact", [contact(3, name="renamed")])
    CountingCursor.count = 0
    await served.hear()
    assert await endpoint.sync(*devices[0]) < 900
    assert CountingCursor.count <= 16
    CountingCursor.count = 0
    assert await endpoint.sync(*devices[1]) < 900
    assert (await endpoint.poll(*devices[2]))[0] == 204
    assert CountingCursor.count == 0
    assert devices[0][0].rows["contact"][guid(2, 3)]["name"] == "renamed"
    assert devices[0][0].rows == devices[1][0].rows


async def test_a_page_costs_the_same_statements_whatever_its_size(
    counted: Database, staged: StagedOrganization
) -> None:
    entity = (await staged.scope()).entity_by_name["contact"]
    counts = []
    for rows in ([contact(number, name="a") for number in range(10)], [contact(n, name="b") for n in range(5_000)]):
        CountingCursor.count = 0
        text = json.dumps(rows).encode()
        page = Page(rows=text, row_count=len(rows), watermark=Watermark(strategy=Strategy.DELTA_LINK), is_last=False)
        async with counted.transaction() as connection:
            changed, _ = await apply_page(connection, entity, page, writes=0)
        assert changed == len(rows)
        counts.append(CountingCursor.count)
    assert counts[0] == counts[1] <= 16, counts


async def test_one_changed_row_touches_a_few_rows(staging: Database, staged: StagedOrganization) -> None:
    await staged.change("contact", [contact(number) for number in range(ROWS, 5 * ROWS)])
    await staging.fetch("vacuum analyze")
    entity = (await staged.scope()).entity_by_name["contact"]
    text = json.dumps([contact(7, owner=guid(1, 8))]).encode()
    page = Page(rows=text, row_count=1, watermark=Watermark(strategy=Strategy.DELTA_LINK), is_last=False)
    async with staging.transaction() as connection:
        await apply_page(connection, entity, page, writes=0)
        found = await connection.execute(
            "select relname, seq_tup_read, idx_tup_fetch, n_tup_ins + n_tup_upd + n_tup_del"
            " from pg_stat_xact_user_tables where relname in ('contact', 'member') order by 1"
        )
        touched = {name: (scanned, fetched, written) for name, scanned, fetched, written in await found.fetchall()}
    assert touched["contact"][0] == touched["member"][0] == 0, touched  # nothing is read from end to end
    assert touched["contact"][1] <= 8, touched
    assert touched["member"][1] <= 10, touched
    assert (touched["contact"][2], touched["member"][2]) == (1, 2), touched
