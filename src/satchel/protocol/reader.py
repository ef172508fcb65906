"""Reading a sync answer: compressed chunks become lines, with bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec
import zstandard

from satchel.errors import ProtocolBroken
from satchel.protocol.messages import Line

MAX_LINE_BYTES = 64 * 1024 * 1024
_GZIP_WINDOW = 31
_DECODER = msgspec.json.Decoder(Line)


class Decompressor(Protocol):
    """Takes chunks as they come from the network."""

    def decompress(self, data: bytes, /) -> bytes:
        """What can be decoded so far."""
        ...


def read_lines(chunks: Iterable[bytes], content_encoding: str) -> Iterator[Line]:
    """The lines of an answer as they arrive. Errors: ProtocolBroken.

    A last line without its line end is dropped: the connection broke in the middle of it.
    """
    decompressor = _decompressor(content_encoding)
    pending: list[bytes] = []
    pending_bytes = 0
    try:
        for chunk in chunks:
            *whole, rest = decompressor.decompress(chunk).split(b"\n")
            for part in whole:
                yield _DECODER.decode(b"".join((*pending, part)))
                pending, pending_bytes = [], 0
            pending.append(rest)
            pending_bytes += len(rest)
            if pending_bytes > MAX_LINE_BYTES:
                raise ProtocolBroken("A line of the server's answer is too long.")
    except (zstandard.ZstdError, zlib.error, msgspec.DecodeError) as error:
        raise ProtocolBroken("The server's answer cannot be read.") from error


def _decompressor(content_encoding: str) -> Decompressor:
    match content_encoding.strip().lower():
        case "zstd":
            return _Zstd()
        case "gzip":
            return zlib.decompressobj(_GZIP_WINDOW)
        case "" | "identity":
            return _Identity()
    raise ProtocolBroken(f"The server's answer is encoded as {content_encoding!r}, which was not asked for.")


class _Zstd:
    """Several frames, one after another, are one stream (RFC 8878, section 3.1)."""

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)

    def decompress(self, data: bytes, /) -> bytes:
        return self._frame.decompress(data)


class _Identity:
    def decompress(self, data: bytes, /) -> bytes:
        return data
