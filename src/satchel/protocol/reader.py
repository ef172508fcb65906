"""Reading a sync answer: compressed chunks become lines. Memory is bounded, whatever the other side sends."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, cast

import msgspec
import zstandard

from satchel.errors import ProtocolBroken
from satchel.protocol.codec import image_of
from satchel.protocol.messages import Line

MAX_LINE_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 256 * 1024  # what is decompressed at once, so that a small chunk cannot become gigabytes
_WINDOW_BYTES = 16 * 1024 * 1024  # zstd's levels up to 19 need 8 MB
_GZIP_WINDOW = 31
_DECODER = msgspec.json.Decoder(Line)
_UNREADABLE = (zstandard.ZstdError, zlib.error, msgspec.DecodeError, ValueError, RecursionError)


def read_lines(chunks: Iterable[bytes], content_encoding: str) -> Iterator[Line]:
    """The lines of an answer as they arrive, each image with its line. Errors: ProtocolBroken.

    A last line without its line end is dropped: the connection broke in the middle of it.
    """
    parser = _Parser()
    try:
        for piece in _decompressor(content_encoding)(chunks):
            yield from parser.feed(piece)
    except _UNREADABLE as error:
        raise ProtocolBroken("The server's answer cannot be read.") from error


class _Parser:
    """Bytes become lines, and images their lines' content; what is not whole yet waits."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._image: Line | None = None
        """The line whose image is coming."""
        self._line: Line | None = None
        """What the last step made whole."""

    def feed(self, piece: bytes) -> Iterator[Line]:
        """The lines that are whole with this piece."""
        at = 0
        while at < len(piece):
            at = self._take_image(self._image, piece, at) if self._image else self._take_text(piece, at)
            if self._line is not None:
                yield self._line

    def _take_text(self, piece: bytes, at: int) -> int:
        end = piece.find(b"\n", at)
        self._wait(piece[at:] if end < 0 else piece[at:end])
        self._line = None
        if end < 0:
            return len(piece)
        line = _DECODER.decode(self._taken())
        if line.image is None:
            self._line = line
        elif 0 < line.size <= MAX_LINE_BYTES:
            self._image = line
        else:
            raise ProtocolBroken("An image in the server's answer is too long.")
        return end + 1

    def _take_image(self, line: Line, piece: bytes, at: int) -> int:
        end = min(len(piece), at + line.size - self._waiting_bytes)
        self._wait(piece[at:end])
        self._line = None
        if self._waiting_bytes == line.size:
            line.content = self._taken()
            line.content, line.guids = image_of(line), 0
            self._line, self._image = line, None
        return end

    def _wait(self, part: bytes) -> None:
        self._waiting.append(part)
        self._waiting_bytes += len(part)
        if self._waiting_bytes > MAX_LINE_BYTES:
            raise ProtocolBroken("A line of the server's answer is too long.")

    def _taken(self) -> bytes:
        whole = b"".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        return whole


def _decompressor(content_encoding: str) -> Callable[[Iterable[bytes]], Iterator[bytes]]:
    match content_encoding.strip().lower():
        case "zstd":
            return _unzstd
        case "gzip":
            return _gunzip
        case "" | "identity":
            return iter
    raise ProtocolBroken(f"The server's answer is encoded as {content_encoding!r}, which was not asked for.")


def _unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Several frames, one after another, are one stream (RFC 8878, section 3.1)."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
    source = _Chunks(chunks)
    with decompressor.stream_reader(cast("IO[bytes]", source), read_across_frames=True, closefd=False) as stream:
        while True:
            piece = stream.read1(_PIECE_BYTES)
            if piece:
                yield piece
            elif source.is_at_end:  # nothing comes as well where a frame ends with its chunk
                return


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj(_GZIP_WINDOW)
    for chunk in chunks:
        waiting = chunk
        while waiting:
            yield stream.decompress(waiting, _PIECE_BYTES)
            waiting = stream.unconsumed_tail


class _Chunks:
    """An iterator in the form that zstandard reads from: each read gives the next chunk, however long."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.is_at_end = False

    def read(self, size: int = -1) -> bytes:
        """The next chunk; an empty one would read as the end."""
        chunk = next((chunk for chunk in self._chunks if chunk), b"")
        self.is_at_end = not chunk
        return chunk
