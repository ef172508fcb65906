"""Sealed frames on their way to devices: read from object storage, kept in memory, and sent as they are.

A frame that holds a row which must not be sent - it left the bucket since the image was sealed - is made anew without
it; what is made so is kept as well, for the next device.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import zstandard

from satchel.buckets.snapshots import Frame, Snapshot
from satchel.model.client_model import ClientEntity
from satchel.protocol.codec import image_line
from satchel.protocol.images import image_without
from satchel.protocol.reader import read_lines
from satchel.storage import Objects

_LEVEL = 3
Keys = tuple[tuple[Any, ...], ...]


class SealedFrame(msgspec.Struct, frozen=True):
    """A part of an answer that is a zstd frame already."""

    content: bytes


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


class Images:
    """The frames of one process: a memory of those that were asked for last."""

    def __init__(self, objects: Objects, memory_bytes: int) -> None:
        """Keep up to so many bytes in memory."""
        self._objects = objects
        self._memory_bytes = memory_bytes
        self._kept: OrderedDict[tuple[str, int, Keys], bytes] = OrderedDict()
        self._kept_bytes = 0

    async def read(self, part: Part) -> bytes | None:
        """The frame as bytes, empty where none of its rows may be sent; None where the object is gone
        or damaged.

        Errors: StorageBusy, StorageMisconfigured.
        """
        key = (part.snapshot.path, part.number, part.unfit)
        content = self._kept.get(key)
        if content is not None:
            self._kept.move_to_end(key)
            return content
        frame = part.frame
        content = await self._objects.get_range(part.snapshot.path, frame.offset, frame.offset + frame.size)
        if content is None or not await asyncio.to_thread(frame.fits, content):
            return None
        if part.unfit:
            content = await asyncio.to_thread(_without, content, part.entity, part.unfit)
        self._keep(key, content)
        return content

    def _keep(self, key: tuple[str, int, Keys], content: bytes) -> None:
        if key in self._kept or len(content) > self._memory_bytes:
            return
        self._kept[key] = content
        self._kept_bytes += len(content)
        while self._kept_bytes > self._memory_bytes:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])


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
