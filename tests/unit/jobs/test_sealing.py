"""Snapshots that are gone from object storage, or belong to another life of the database, are sealed anew."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from obstore.store import LocalStore

from satchel.database.pool import Database
from satchel.jobs.seal_snapshot import Sealing, seal_snapshots
from satchel.staging.restored import begin_another_life
from satchel.storage import Objects
from tests.support.field_organization import PRINCIPALS, StagedOrganization, compiled, item, profile

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


async def test_what_object_storage_lost_is_sealed_again(staging: Database, tmp_path: Path) -> None:
    staged = StagedOrganization(staging)
    await staged.make(compiled(profile(item("product", rows=["all"]), principals=PRINCIPALS)), NOW)
    await staged.change("product", [{"code": f"p{n}", "size": n, "name": "a"} for n in range(10)])
    objects = Objects(LocalStore(tmp_path), "the test's folder")
    sealing = Sealing(
        objects=objects, min_rows=5, tail_share=0.5, compression_level=1, grace_seconds=3600.0, forget_seconds=3600.0
    )

    async def sealed_paths() -> set[str]:
        await seal_snapshots(staged.work, sealing)
        return {each.path async for each in objects.listed("organizations")}

    first = await sealed_paths()
    assert len(first) == 1
    assert await sealed_paths() == first
    await objects.delete(first.pop())
    second = await sealed_paths()
    assert len(second) == 1
    async with staging.transaction() as connection:  # a backup holds the manifest, and no image
        await begin_another_life(connection, "another", "a backup")
    assert await staging.fetch("select path from satchel.snapshot") == []
    assert len(await sealed_paths() - second) == 1
