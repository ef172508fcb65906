"""Sets of bucket ids in few bytes, for cursors and notifications."""

from __future__ import annotations

from collections.abc import Iterable

from satchel.model.ids import BucketId


def pack_buckets(buckets: Iterable[BucketId]) -> bytes:
    """Bucket ids as rising differences, seven bits a byte: one or two bytes a bucket."""
    packed = bytearray()
    before = 0
    for bucket in sorted(buckets):
        step, before = bucket - before, bucket
        while step > 0x7F:
            packed.append(step & 0x7F | 0x80)
            step >>= 7
        packed.append(step)
    return bytes(packed)


def unpack_buckets(packed: bytes) -> list[BucketId]:
    """The reverse of `pack_buckets`; the ids rise."""
    buckets: list[BucketId] = []
    value = step = shift = 0
    for byte in packed:
        step |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            value += step
            buckets.append(BucketId(value))
            step = shift = 0
    return buckets
