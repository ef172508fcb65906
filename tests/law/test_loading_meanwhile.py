"""What happens between two steps of a download ends like what happens before or after it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from obstore.store import LocalStore

from satchel.buckets.snapshots import Snapshot, keep_snapshot, snapshots_in_use
from satchel.database.pool import Database
from satchel.jobs.seal_snapshot import Sealing, seal_snapshots
from satchel.storage import Objects
from satchel.sync.download import StepLimits
from satchel.sync.images import Images
from tests.law.test_retention import OWNER, UNIT, contact
from tests.law.test_scopes import compiled, item, profile
from tests.support.field_organization import StagedOrganization
from tests.support.line_device import LineDevice

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def account(number: int, **values: Any) -> dict[str, Any]:
    key = f"00000000-0000-4000-9000-{number:012}"
    row = {"id": key, "name": f"a{number}", "owner": OWNER, "unit": UNIT, "industry": 1, "parent": None}
    return row | {"modified": None} | values


@pytest.fixture
async def staged(staging: Database) -> StagedOrganization:
    made = StagedOrganization(staging)
    await made.make(offered("id", "name"), NOW)
    await made.change("user", [{"id": OWNER, "name": "Ann", "unit": UNIT, "disabled": False}])
    await made.change("contact", [contact(number) for number in range(10)])
    await made.change("account", [account(number) for number in range(3)])
    return made


def offered(*columns: str) -> Any:
    return compiled(profile(item("contact", rows=["own"]), item("account", rows=["own"], columns=list(columns))))


async def one_step(device: LineDevice, staging: Database, rows: int) -> None:
    """An answer that breaks off behind its first step."""
    answer = device.answer(staging, StepLimits(rows_per_step=rows, rows_per_line=100))
    device.apply(await anext(answer))
    await answer.aclose()  # type: ignore[attr-defined]


async def test_a_row_that_goes_while_its_entity_waits_to_be_loaded_again_goes_from_the_device(
    staging: Database, staged: StagedOrganization
) -> None:
    device = LineDevice(OWNER)
    await device.sync(staging)
    assert len(device.rows["account"]) == 3
    await staged.change("contact", [contact(number, name="changed") for number in range(10)])
    await staged.publish(offered("id", "name", "industry"), NOW)

    await one_step(device, staging, 3)
    await staged.change("account", removed=[(account(0)["id"],)])
    await device.sync(staging)

    assert device.rows["account"].keys() == {account(1)["id"], account(2)["id"]}


async def test_a_row_that_goes_from_a_bucket_that_goes_before_it_is_loaded_goes_from_the_device(
    staging: Database, staged: StagedOrganization
) -> None:
    device = LineDevice(OWNER)
    await device.sync(staging)
    await staged.change("contact", [contact(number, name="changed") for number in range(4)])
    await staged.publish(offered("id", "name", "industry"), NOW)

    await one_step(device, staging, 3)
    await staged.change("account", removed=[(account(0)["id"],)])
    await staged.change("contact", [contact(number, name="changed") for number in range(4, 10)])
    await one_step(device, staging, 3)
    await staged.change("user", [{"id": OWNER, "name": "Ann", "unit": UNIT, "disabled": True}])
    await device.sync(staging)

    assert not any(device.rows.values())


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(LocalStore(tmp_path), "the test's folder")


async def seal(staged: StagedOrganization, objects: Objects) -> list[Snapshot]:
    sealing = Sealing(
        objects=objects, min_rows=5, tail_share=0.5, compression_level=1, grace_seconds=60.0, forget_seconds=60.0
    )
    await seal_snapshots(staged.work, sealing)
    async with staged.database.connection() as connection:
        return await snapshots_in_use(connection)


async def test_a_damaged_object_is_not_sent(
    staging: Database, staged: StagedOrganization, objects: Objects, tmp_path: Path
) -> None:
    (snapshot,) = await seal(staged, objects)
    whole = LineDevice(OWNER, Images(objects, 10_000))
    await whole.sync(staging)
    assert whole.rows_in_images == 10

    content = bytearray((tmp_path / snapshot.path).read_bytes())
    content[-3] ^= 1
    (tmp_path / snapshot.path).write_bytes(content)
    device = LineDevice(OWNER, Images(objects, 10_000))
    await device.sync(staging)

    assert device.rows_in_images == 0
    assert device.rows == whole.rows


async def test_an_image_without_rows_holds_nobody_up(
    staging: Database, staged: StagedOrganization, objects: Objects
) -> None:
    (sealed,) = await seal(staged, objects)
    empty = Snapshot(0, sealed.bucket, sealed.generation, sealed.projection, sealed.op, 0, 0, "nowhere", [])
    async with staging.transaction() as connection:
        await keep_snapshot(connection, empty)

    device = LineDevice(OWNER, Images(objects, 10_000))
    await device.sync(staging)

    assert len(device.rows["contact"]) == 10
