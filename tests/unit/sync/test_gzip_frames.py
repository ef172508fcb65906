"""Frames for clients without zstd: made when the first of them comes, by one of those who ask, and kept."""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path

import pytest
import zstandard
from obstore.store import LocalStore

from satchel.buckets.snapshots import Frame, Snapshot, frame_digest, gzip_path
from satchel.model.client_model import ClientEntity
from satchel.model.ids import BucketId, OpId
from satchel.protocol.compression import SealedFrame
from satchel.storage import Objects
from satchel.sync.images import Images, Part

PATH = "organizations/o/snapshots/1-a"
PLAIN = [b"first frame" * 5_000, b"second frame" * 5_000]


class Counting(Objects):
    """Counts what is read and written."""

    reads = writes = 0

    async def get_range(self, path: str, start: int, end: int) -> bytes | None:
        self.reads += 1
        return await super().get_range(path, start, end)

    async def put(self, path: str, content: bytes) -> None:
        self.writes += 1
        await super().put(path, content)


@pytest.fixture
def objects(tmp_path: Path) -> Counting:
    return Counting(LocalStore(tmp_path), "the test's folder")


@pytest.fixture
async def parts(objects: Counting) -> list[Part]:
    contents = [zstandard.ZstdCompressor().compress(plain) for plain in PLAIN]
    offsets = [0, len(contents[0])]
    frames = [
        Frame(offset, len(content), 1, ("k",), frame_digest(content))
        for offset, content in zip(offsets, contents, strict=True)
    ]
    await Objects.put(objects, PATH, b"".join(contents))
    snapshot = Snapshot(1, BucketId(1), "", "", OpId(1), 2, sum(map(len, contents)), PATH, frames)
    entity = ClientEntity(name="e", key=(), attributes=())
    return [Part(snapshot, number, entity) for number in (0, 1)]


def content(frame: SealedFrame | None) -> bytes:
    assert frame is not None
    assert frame.encoding == "gzip"
    plain = zlib.decompressobj(wbits=-15).decompress(frame.content)
    assert (frame.size, frame.checksum) == (len(plain), zlib.crc32(plain))
    return plain


async def test_many_who_ask_at_once_let_it_be_made_once(objects: Counting, parts: list[Part]) -> None:
    images = Images(objects, 1_000_000)
    gone = asyncio.create_task(images.read_gzip(parts[0]))
    await asyncio.sleep(0)
    others = [asyncio.create_task(images.read_gzip(parts[0])) for _ in range(20)]
    await asyncio.sleep(0)
    gone.cancel()
    assert {content(frame) for frame in await asyncio.gather(*others)} == {PLAIN[0]}
    assert content(await images.read_gzip(parts[0])) == PLAIN[0]
    assert (objects.reads, objects.writes) == (1, 1)


async def test_another_process_finds_what_was_made(objects: Counting, parts: list[Part]) -> None:
    first = [await Images(objects, 0).read_gzip(part) for part in parts]
    reads = objects.reads
    again = [await Images(objects, 1_000_000).read_gzip(part) for part in parts]
    assert again == first
    assert [content(frame) for frame in again] == PLAIN
    assert (objects.reads, objects.writes) == (reads, 2)


@pytest.mark.parametrize("damage", [b"", b"\0", b"x" * 100])
async def test_one_that_came_to_harm_is_made_again(objects: Counting, parts: list[Part], damage: bytes) -> None:
    whole = await Images(objects, 0).read_gzip(parts[0])
    await objects.put(gzip_path(PATH, 0), damage)
    assert await Images(objects, 0).read_gzip(parts[0]) == whole
    assert await Images(objects, 0).read_gzip(parts[0]) == whole
    assert objects.writes == 3


async def test_a_storage_that_takes_nothing_keeps_nobody_from_a_frame(
    tmp_path: Path, objects: Counting, parts: list[Part]
) -> None:
    (tmp_path / gzip_path(PATH, 0)).mkdir()
    (tmp_path / gzip_path(PATH, 0) / "full").touch()
    assert content(await Images(objects, 0).read_gzip(parts[0])) == PLAIN[0]
    assert content(await Images(objects, 0).read_gzip(parts[1])) == PLAIN[1]


async def test_without_its_snapshot_there_is_none(objects: Counting, parts: list[Part]) -> None:
    await objects.delete(PATH)
    assert await Images(objects, 0).read_gzip(parts[0]) is None
