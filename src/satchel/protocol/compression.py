"""Content encodings of a sync answer: zstd, else gzip, else identity. Source: RFC 9110 section 12.5.3, RFC 8878."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Protocol

import zstandard

_GZIP_WINDOW = 31
_PREFERRED = ("zstd", "gzip", "identity")


class Compressor(Protocol):
    """A streaming compressor whose output can be cut after each batch."""

    def compress(self, chunk: bytes) -> bytes:
        """Take a chunk; what is ready comes out."""
        ...

    def flush(self) -> bytes:
        """What the other side needs to decode all chunks so far."""
        ...

    def finish(self) -> bytes:
        """The end of the stream."""
        ...


@lru_cache(maxsize=256)
def choose_encoding(accept_encoding: str) -> str:
    """The best encoding that the other side takes; an empty header means identity."""
    weights = {}
    for part in accept_encoding.lower().split(","):
        name, _, parameters = part.strip().partition(";")
        weights[name.strip()] = _weight(parameters)
    fallback = weights.get("*", 0.0)
    accepted = [name for name in _PREFERRED[:2] if weights.get(name, fallback) > 0]
    return accepted[0] if accepted else "identity"


def compressor(encoding: str, level: int) -> Compressor:
    """A compressor of one answer."""
    match encoding:
        case "zstd":
            return _Zstd(level)
        case "gzip":
            return _Gzip(min(level, 9))
        case _:
            return _Identity()


def unsealed(frame: bytes) -> bytes:
    """What stands in a sealed zstd frame, for clients that take none."""
    return zstandard.ZstdDecompressor().decompress(frame)


class _Zstd:
    def __init__(self, level: int) -> None:
        self._stream = zstandard.ZstdCompressor(level=level).compressobj()

    def compress(self, chunk: bytes) -> bytes:
        return self._stream.compress(chunk)

    def flush(self) -> bytes:
        return self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)


class _Gzip:
    def __init__(self, level: int) -> None:
        self._stream = zlib.compressobj(level, wbits=_GZIP_WINDOW)

    def compress(self, chunk: bytes) -> bytes:
        return self._stream.compress(chunk)

    def flush(self) -> bytes:
        return self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._stream.flush(zlib.Z_FINISH)


class _Identity:
    def compress(self, chunk: bytes) -> bytes:
        return chunk

    def flush(self) -> bytes:
        return b""

    def finish(self) -> bytes:
        return b""


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
