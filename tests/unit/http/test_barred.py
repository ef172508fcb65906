"""A device that is blocked while its download is under way gets no more of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from obstore.store import LocalStore

from satchel.database.pool import Database
from satchel.errors import TokenInvalid
from satchel.http.auth import DeviceAuth
from satchel.http.polls import Polls
from satchel.http.sync import SyncServing
from satchel.identity.keys import MasterKey
from satchel.protocol.messages import Lease
from satchel.provisioning.devices import Devices
from satchel.provisioning.organizations import Organization, Organizations
from satchel.storage import Objects
from satchel.sync.cursor import CursorSeal
from satchel.sync.download import StepLimits
from satchel.sync.images import Images
from satchel.sync.known_devices import KnownDevices
from satchel.sync.served import ServedOrganizations
from tests.support.field_organization import StagedOrganization, compiled, item, profile

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
USER = "11111111-1111-4111-8111-111111111111"
INSERT = """
insert into satchel.organization (name, source_kind, source_url, connection, database_name, state)
values ('contoso', 'odata', 'https://x.example', '', 'd', 'active')
"""


class Server:
    """What a sync server has, without its sockets."""

    def __init__(self, control: Database, staging: Database, folder: Path) -> None:
        def open_staging(_: Organization) -> Database:
            return Database(staging.url, pool_size=2)

        self.devices, self.organizations = Devices(control), Organizations(control)
        self.known = KnownDevices(self.devices)
        self.served = ServedOrganizations(self.organizations, open_staging)
        self.serving = SyncServing(
            auth=DeviceAuth(self.devices, self.known),
            devices=self.devices,
            served=self.served,
            cursor_keys=MasterKey(b"k" * 32).keys("cursor"),
            limits=StepLimits(rows_per_step=1, rows_per_line=1),
            compression_level=1,
            lease=Lease(0, "lock"),
            images=Images(Objects(LocalStore(folder), "the test's folder"), 1000),
            ca_file=None,
        )


@pytest.fixture
async def server(control: Database, staging: Database, tmp_path: Path) -> AsyncIterator[Server]:
    await control.fetch(INSERT)
    staged = StagedOrganization(staging)
    await staged.make(compiled(profile(item("contact", rows=["own"]))), NOW)
    await staged.change("user", [{"id": USER, "name": "Ann", "unit": USER, "disabled": False}])
    empty = {"status": 1, "account": None, "due": None}
    rows = [{"id": f"00000000-0000-4000-8000-{n:012}", "name": "c", "owner": USER, "unit": USER} for n in range(20)]
    await staged.change("contact", [row | empty for row in rows])
    server = Server(control, staging, tmp_path)
    yield server
    await server.served.close()


async def test_a_block_ends_a_download_that_is_under_way(server: Server) -> None:
    organization = await server.organizations.get("contoso")
    code = await server.devices.make_code(organization, USER, "Ann", lifetime_seconds=60)
    device, token = await server.devices.enroll("contoso", code, "phone")

    async def others(*_: object) -> None:
        return

    async def rows(block_behind: int) -> int:
        await server.known.confirm()
        seal = CursorSeal([b"k" * 32], "contoso", device.id)
        polls, count = Polls(server.serving, 1000, others), 0
        async for batch in await polls._first_batch(device, f"Bearer {token}", None, None, seal, None):
            count += batch.count(b'{"put":') if isinstance(batch, bytes) else 0
            if count == block_behind:
                await server.devices.block(organization, device.id, is_blocked=True)
                await server.known.confirm()
        return count

    assert await rows(block_behind=99) == 20
    assert await rows(block_behind=3) == 3
    with pytest.raises(TokenInvalid):
        await server.serving.auth.device(f"Bearer {token}", "contoso")
