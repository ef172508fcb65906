"""Sealing that is killed anywhere or loses its objects comes right with the next run, and no device waits for it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from obstore.store import LocalStore

from satchel.database.pool import Database
from satchel.errors import SatchelError
from satchel.jobs.seal_snapshot import ORPHAN_SECONDS, Sealing, seal_snapshots
from satchel.staging.restored import begin_another_life
from satchel.storage import Objects
from satchel.sync.images import Images
from satchel.sync.step import StepLimits
from tests.support.field_organization import StagedOrganization, compiled, item, profile
from tests.support.line_device import LineDevice

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
USER = "11111111-1111-4111-8111-111111111111"
ROWS = 10
LIMITS = StepLimits(rows_per_step=100, rows_per_line=10)
HALF = """
import asyncio, os, signal, sys
from obstore.store import LocalStore
from satchel.storage import Objects

async def pieces():
    for _ in range(12):
        yield os.urandom(1_000_000)
    while not any("#" in name and os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder)):
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

folder = os.path.dirname(os.path.join(*sys.argv[1:3]))
asyncio.run(Objects(LocalStore(sys.argv[1]), "").put_stream(sys.argv[2], pieces()))
"""
"""Killed while it writes an object."""
REFUSED = """
create function satchel.refuse() returns trigger language plpgsql as $$ begin raise exception 'ends here'; end $$;
create trigger refuse before insert on satchel.snapshot for each row execute function satchel.refuse();
"""


class Sealed:
    """Ten rows in one bucket, and what is sealed of them in a folder."""

    def __init__(self, staging: Database, folder: Path) -> None:
        self.staging, self.folder = staging, folder
        self.staged = StagedOrganization(staging)
        folder.mkdir()
        self.objects = Objects(LocalStore(folder), "the test's folder")

    async def seal(self, grace_seconds: float = 3600.0) -> set[str]:
        """Run the job; the paths of all objects behind it."""
        sealing = Sealing(
            objects=self.objects,
            min_rows=5,
            tail_share=0.5,
            compression_level=1,
            grace_seconds=grace_seconds,
            forget_seconds=3600.0,
            frame_bytes=1,
        )
        await seal_snapshots(self.staged.work, sealing)
        return await self.there()

    async def there(self) -> set[str]:
        """The paths of all objects."""
        return {each.path async for each in self.objects.listed("organizations")}

    async def known(self) -> set[str]:
        """The paths in the manifest."""
        return {path for (path,) in await self.staging.fetch("select path from satchel.snapshot")}

    async def change_all(self, name: str) -> None:
        """Another content for each row."""
        await self.staged.change("product", [{"code": f"p{n}", "size": n, "name": name} for n in range(ROWS)])

    def age(self, path: str) -> None:
        """Make an object as old as a forgotten one."""
        moment = time.time() - ORPHAN_SECONDS - 60
        os.utime(self.folder / path, (moment, moment))

    def device(self, encoding: str = "zstd") -> LineDevice:
        """A device that takes images."""
        return LineDevice(USER, Images(self.objects, 10_000), encoding)

    async def half_synced(self) -> LineDevice:
        """A device that got the first frame, and whose connection broke behind it."""
        device = self.device()
        answer = device.answer(self.staging, LIMITS)
        lines = []
        async for batch in answer:
            lines += batch
            if device.rows_in_images and "cursor" in batch[-1]:
                break
        await answer.aclose()  # type: ignore[attr-defined]
        assert not device.apply(lines)
        assert 0 < len(device.rows["product"]) < ROWS
        return device

    async def ends(self, device: LineDevice, name: str) -> None:
        """Sync to the end: the device holds all rows as they are."""
        await device.sync(self.staging)
        assert {key: row["name"] for key, row in device.rows["product"].items()} == {
            (f"p{n}", n): name for n in range(ROWS)
        }


@pytest.fixture
async def sealed(staging: Database, tmp_path: Path) -> Sealed:
    made = Sealed(staging, tmp_path / "objects")
    scope = compiled(profile(item("product", rows=["all"])))
    await made.staged.make(scope, NOW)
    await made.staged.change("unit", [{"id": USER}])
    await made.staged.change("user", [{"id": USER, "name": "u", "unit": USER, "disabled": False}])
    await made.change_all("a")
    return made


async def test_what_object_storage_lost_is_sealed_again(sealed: Sealed) -> None:
    first = await sealed.seal()
    assert len(first) == 1
    assert await sealed.seal() == first
    await sealed.objects.delete(first.pop())
    second = await sealed.seal()
    assert len(second) == 1
    async with sealed.staging.transaction() as connection:  # a backup holds the manifest, and no image
        await begin_another_life(connection, "another", "a backup")
    assert await sealed.known() == set()
    assert len(await sealed.seal() - second) == 1


async def test_an_object_whose_manifest_was_never_written_is_sealed_again_and_swept(sealed: Sealed) -> None:
    async with sealed.staging.connection() as connection:
        await connection.execute(REFUSED)
    with pytest.raises((SatchelError, psycopg.Error)):
        await sealed.seal()
    orphans = await sealed.there()
    assert len(orphans) == 1
    assert await sealed.known() == set()
    await sealed.staging.fetch("drop trigger refuse on satchel.snapshot")
    assert orphans < await sealed.seal()  # it may be of a sealing under way
    known = await sealed.known()
    assert len(known) == 1
    for path in orphans | known:
        sealed.age(path)
    assert await sealed.seal() == known
    await sealed.ends(sealed.device(), "a")


async def test_an_object_that_outlived_its_manifest_is_swept(sealed: Sealed) -> None:
    (first,) = await sealed.seal()
    await sealed.change_all("b")
    assert len(await sealed.seal()) == 2
    await sealed.staging.fetch("delete from satchel.snapshot where retired_at is not null returning id")
    known = await sealed.known()
    assert await sealed.seal() == {first, *known}
    sealed.age(first)
    assert await sealed.seal() == known


async def test_a_replaced_snapshot_is_kept_for_its_grace_time(sealed: Sealed) -> None:
    first = await sealed.seal()
    device = await sealed.half_synced()
    await sealed.change_all("b")
    assert first < await sealed.seal()
    assert first < await sealed.seal()
    before = device.rows_in_images
    await sealed.ends(device, "b")
    assert device.rows_in_images == ROWS  # the rest came from the old image, and no frame twice
    assert before < ROWS
    assert not first & await sealed.seal(grace_seconds=0.0)


async def test_a_device_in_the_middle_of_a_dropped_snapshot_begins_with_the_next(sealed: Sealed) -> None:
    await sealed.seal()
    device = await sealed.half_synced()
    before = device.rows_in_images
    await sealed.change_all("b")
    await sealed.seal()
    await sealed.seal(grace_seconds=0.0)
    await sealed.ends(device, "b")
    assert device.rows_in_images == before + ROWS


async def test_a_device_in_the_middle_of_a_snapshot_gets_rows_where_there_is_none_any_more(sealed: Sealed) -> None:
    await sealed.seal()
    device = await sealed.half_synced()
    before = device.rows_in_images
    await sealed.staging.fetch("delete from satchel.snapshot returning id")
    await sealed.ends(device, "a")
    assert device.rows_in_images == before


@pytest.mark.parametrize("damage", ["gone", "short", "unreadable"])
async def test_rows_come_where_object_storage_fails(sealed: Sealed, damage: str) -> None:
    (path,) = await sealed.seal()
    half = await sealed.half_synced()
    before = half.rows_in_images
    file = sealed.folder / path
    if damage == "short":
        os.truncate(file, 10)
    elif damage == "gone":
        file.unlink()
    else:  # a file where its folder should be
        shutil.rmtree(file.parent)
        file.parent.write_bytes(b"")
    half.images = Images(sealed.objects, 10_000)  # another sync server, which remembers nothing
    await sealed.ends(half, "a")
    assert half.rows_in_images == before
    newcomer = sealed.device()
    await sealed.ends(newcomer, "a")
    assert newcomer.rows_in_images == 0


async def test_what_a_kill_left_of_an_upload_is_swept(sealed: Sealed) -> None:
    (path,) = await sealed.seal()
    command = [sys.executable, "-c", HALF, str(sealed.folder), path + "x"]
    child = await asyncio.create_subprocess_exec(*command)
    assert await asyncio.wait_for(child.wait(), 60) == -signal.SIGKILL
    (half,) = (file for file in (sealed.folder / path).parent.iterdir() if file.name != Path(path).name)
    assert half.stat().st_size > 0
    assert await sealed.seal() == {path}
    assert half.exists()  # it may be under way
    sealed.age(str(half.relative_to(sealed.folder)))
    assert await sealed.seal() == {path}
    assert not half.exists()


async def test_a_storage_that_failed_is_sealed_to_again(sealed: Sealed) -> None:
    (path,) = await sealed.seal()
    folder = (sealed.folder / path).parent
    aside = folder.rename(folder.with_name("aside"))
    folder.write_bytes(b"")
    with pytest.raises(SatchelError):
        await sealed.seal()
    assert await sealed.known() == set()
    await sealed.ends(sealed.device(), "a")
    folder.unlink()
    aside.rename(folder)
    assert len(await sealed.seal()) == 2
    newcomer = sealed.device()
    await sealed.ends(newcomer, "a")
    assert newcomer.rows_in_images == ROWS


async def test_gzip_frames_go_with_their_snapshot_or_of_age(sealed: Sealed) -> None:
    (first,) = await sealed.seal()

    async def gzip_client() -> set[str]:
        device = sealed.device(encoding="gzip")
        await sealed.ends(device, (await sealed.staging.fetch("select max(name) from staging.product"))[0][0])
        assert device.rows_in_images == ROWS
        return await sealed.there()

    made = await gzip_client() - {first}
    assert len(made) == ROWS  # a frame each
    assert await sealed.seal() == {first} | made
    for path in made:
        os.utime(sealed.folder / path, (time.time() - 3_700, time.time() - 3_700))
    assert await sealed.seal() == {first}  # of age
    assert await gzip_client() == {first} | made
    await sealed.change_all("b")
    second = await sealed.seal() - made - {first}
    assert made < await sealed.there()
    assert await sealed.seal(grace_seconds=0.0) == second
    assert not made & await gzip_client()
