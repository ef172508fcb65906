"""Sealed frames on their way to devices: read from object storage, kept in memory, and sent as they are.

A frame that holds a row which must not be sent - it left the bucket since the image was sealed - is made anew without
it; what is made so is kept as well, for the next device. What clients without zstd get is made when the first of them
comes, and stands beside the snapshot from then on.
"""

from __future__ import annotations

import asyncio
import struct
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec
import structlog
import zstandard

from satchel.buckets.snapshots import Frame, Snapshot, frame_digest, gzip_path
from satchel.errors import StorageBusy, StorageMisconfigured
from satchel.model.client_model import ClientEntity
from satchel.protocol.codec import image_line
from satchel.protocol.compression import SealedFrame, deflated
from satchel.protocol.images import image_without
from satchel.protocol.reader import read_lines
from satchel.storage import Objects

log = structlog.get_logger()
_LEVEL = 3
_GZIP_LEVEL = 6
_GZIP_HEAD = struct.Struct("<16sLL")
"""In front of a stored gzip frame: the digest of its bytes, checksum and size of what it holds."""
Keys = tuple[tuple[Any, ...], ...]


class Part(msgspec.Struct, frozen=True):
    """A frame that is to be sent, without these rows."""

    snapshot: Snapshot
    number: int
    entity: ClientEntity
    unfit: Keys = ()
    """Their keys, in wire values."""

    @property
    def frame(self) -> Frame:
        """Where it stands."""
        return self.snapshot.frames[self.number]


ReadFrame = Callable[[Part], Awaitable[SealedFrame | None]]
"""Reads a frame: empty where none of its rows may be sent, None where the object is gone or damaged.

Errors: StorageBusy, StorageMisconfigured.
"""
_Key = tuple[str, int, Keys, str]


class Images:
    """The frames of one process: a memory of those that were asked for last."""

    def __init__(self, objects: Objects, memory_bytes: int) -> None:
        """Keep up to so many bytes in memory."""
        self._objects = objects
        self._memory_bytes = memory_bytes
        self._kept: OrderedDict[_Key, SealedFrame] = OrderedDict()
        self._kept_bytes = 0
        self._under_way: dict[_Key, asyncio.Task[SealedFrame | None]] = {}

    def reader(self, encoding: str) -> ReadFrame:
        """What reads frames for an answer of this encoding; with one that has no frames, zstd's."""
        return self.read_gzip if encoding == "gzip" else self.read

    async def read(self, part: Part) -> SealedFrame | None:
        """The frame in zstd. As `ReadFrame`."""
        key = (part.snapshot.path, part.number, part.unfit, "zstd")
        frame = self._recalled(key)
        if frame is None:
            content = await self._content(part)
            if content is None:
                return None
            frame = SealedFrame(content)
            self._keep(key, frame)
        return frame

    async def read_gzip(self, part: Part) -> SealedFrame | None:
        """The frame in gzip: made once, whoever asks for it meanwhile. As `ReadFrame`."""
        key = (part.snapshot.path, part.number, part.unfit, "gzip")
        frame = self._recalled(key)
        if frame is not None:
            return frame
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._gzip(part, key))
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return await asyncio.shield(task)  # who goes away ends it for nobody

    async def _gzip(self, part: Part, key: _Key) -> SealedFrame | None:
        frame = None if part.unfit else await self._stored_gzip(part)
        if frame is None:
            content = await self._content(part)
            if content is None:
                return None
            frame = await asyncio.to_thread(deflated, content, _GZIP_LEVEL) if content else SealedFrame(b"", "gzip")
            if not part.unfit:
                await self._store_gzip(part, frame)
        self._keep(key, frame)
        return frame

    async def _stored_gzip(self, part: Part) -> SealedFrame | None:
        """The frame as it was made before; None where it was not, or came to harm."""
        found = await self._objects.get(gzip_path(part.snapshot.path, part.number))
        if found is None or len(found) <= _GZIP_HEAD.size:
            return None
        digest, checksum, size = _GZIP_HEAD.unpack_from(found)
        content = found[_GZIP_HEAD.size :]
        is_whole = digest == (await asyncio.to_thread(frame_digest, content)).encode()
        return SealedFrame(content, "gzip", checksum, size) if is_whole else None

    async def _store_gzip(self, part: Part, frame: SealedFrame) -> None:
        """Several may write it: the bytes are the same. A storage that takes nothing costs the next one the work."""
        head = _GZIP_HEAD.pack(frame_digest(frame.content).encode(), frame.checksum, frame.size)
        try:
            await self._objects.put(gzip_path(part.snapshot.path, part.number), head + frame.content)
        except (StorageBusy, StorageMisconfigured) as error:
            log.warning("gzip frame not stored", reason=error.message)

    async def _content(self, part: Part) -> bytes | None:
        frame = part.frame
        content = await self._objects.get_range(part.snapshot.path, frame.offset, frame.offset + frame.size)
        if content is None or not await asyncio.to_thread(frame.fits, content):
            return None
        if part.unfit:
            content = await asyncio.to_thread(_without, content, part.entity, part.unfit)
        return content

    def _recalled(self, key: _Key) -> SealedFrame | None:
        frame = self._kept.get(key)
        if frame is not None:
            self._kept.move_to_end(key)
        return frame

    def _keep(self, key: _Key, frame: SealedFrame) -> None:
        if key in self._kept or len(frame.content) > self._memory_bytes:
            return
        self._kept[key] = frame
        self._kept_bytes += len(frame.content)
        while self._kept_bytes > self._memory_bytes:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1].content)


def parts(
    snapshot: Snapshot,
    entity: ClientEntity,
    unfit: Iterable[tuple[tuple[str, ...], tuple[Any, ...]]],
    *,
    start: int,
    count: int,
) -> list[Part]:
    """The next frames of a snapshot, each with the keys (as text, and in wire values) that must not be in it."""
    firsts = [frame.first_key for frame in snapshot.frames]
    by_frame: dict[int, list[tuple[Any, ...]]] = {}
    for text, key in sorted(unfit):
        by_frame.setdefault(max(0, bisect_right(firsts, text) - 1), []).append(key)
    numbers = range(start, min(start + count, len(firsts)))
    return [Part(snapshot, number, entity, tuple(by_frame.get(number, ()))) for number in numbers]


def _without(content: bytes, entity: ClientEntity, keys: Sequence[tuple[Any, ...]]) -> bytes:
    (line,) = read_lines([content], "zstd")
    left, image = image_without(entity, line.content, keys)
    if not left:
        return b""
    made = image_line(entity.name, [a.name for a in entity.attributes], left, image)
    return zstandard.ZstdCompressor(level=_LEVEL).compress(made)
