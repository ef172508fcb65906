"""An organization moved, and this sync server does not know it yet: no device begins anew because of that."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from satchel.database.pool import Database
from satchel.errors import StoreBusy
from tests.support.field_organization import PRINCIPALS, StagedOrganization, compiled, item, profile
from tests.support.line_device import LineDevice

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
USER = "11111111-1111-4111-8111-111111111111"


async def test_a_cursor_of_the_new_place_is_not_reset_by_the_old_one(staging: Database) -> None:
    staged = StagedOrganization(staging)
    await staged.make(compiled(profile(item("product", rows=["all"]), principals=PRINCIPALS)), NOW)
    await staged.change("user", [{"id": USER, "name": "Ann", "unit": USER, "disabled": False}])
    await staged.change("product", [{"code": "a", "size": 1, "name": "a"}])
    device = LineDevice(USER)
    await device.sync(staging)
    cursor = device.cursor

    await staging.fetch("update satchel.head set op = op - 1")  # what the old place never heard of
    await staging.fetch("create table satchel.satchel_moved (move text not null)")
    await staging.fetch("insert into satchel.satchel_moved values ('a move')")
    with pytest.raises(StoreBusy):
        await device.sync(staging)
    assert device.cursor == cursor
