"""Lines come out of compressed chunks however these are cut, and nothing hostile fills the memory."""

from __future__ import annotations

import itertools
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from satchel.errors import ProtocolBroken
from satchel.protocol import codec, reader
from satchel.protocol.compression import compressor
from satchel.protocol.messages import End, Line

LINES = [
    codec.wipe_line(["contact"]),
    codec.put_line("contact", ["id", "name"], [f'["{n}","Ann\\n{n}"]' for n in range(300)]),
    codec.cursor_line("c1"),
    codec.end_line(End(7, "c2")),
]
READ = list(reader.read_lines(LINES, ""))
ENCODINGS = ["zstd", "gzip", "identity"]


def wire(encoding: str) -> bytes:
    compress = compressor(encoding, 3)
    parts = [compress.compress(line) + compress.flush() for line in LINES]
    return b"".join(parts) + compress.finish()


def cut(whole: bytes, places: list[int]) -> list[bytes]:
    at = sorted({0, len(whole), *(place % (len(whole) + 1) for place in places)})
    return [whole[a:b] for a, b in itertools.pairwise(at)]


@given(places=st.lists(st.integers(0, 100_000), max_size=12), at_frames=st.booleans())
def test_several_frames_are_one_stream(places: list[int], *, at_frames: bool) -> None:
    frames = [zstandard.ZstdCompressor().compress(line) for line in LINES]
    chunks = frames if at_frames else cut(b"".join(frames), places)
    assert list(reader.read_lines(chunks, "zstd")) == READ


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(places=st.lists(st.integers(0, 100_000), max_size=12))
def test_chunks_may_be_cut_anywhere(encoding: str, places: list[int]) -> None:
    assert list(reader.read_lines(cut(wire(encoding), places), encoding)) == READ


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_line_is_there_as_soon_as_its_batch_was_flushed(encoding: str) -> None:
    compress = compressor(encoding, 3)
    sent: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number, line in enumerate(LINES):
            sent.append(number)
            yield compress.compress(line) + compress.flush()

    seen = [(line, len(sent)) for line in reader.read_lines(chunks(), encoding)]

    assert seen == [(line, number + 1) for number, line in enumerate(READ)]


def test_concatenated_zstd_frames_are_one_stream() -> None:
    frames = b"".join(zstandard.compress(line) for line in LINES)
    assert list(reader.read_lines([frames[:50], b"", frames[50:]], "zstd")) == READ


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(length=st.integers(0, 5000))
def test_a_broken_answer_gives_its_whole_lines(encoding: str, length: int) -> None:
    found = list(reader.read_lines([wire(encoding)[:length]], encoding))
    assert found == READ[: len(found)]


@pytest.mark.parametrize(
    ("encoding", "chunk"),
    [
        ("zstd", b"not zstd at all"),
        ("gzip", b"not gzip at all"),
        ("identity", b"<html>\n"),
        ("identity", b'{"put": 5}\n'),
        ("identity", b'{"put": "\xff"}\n'),
        pytest.param("identity", b'{"rows": [' + b"[" * 100_000 + b"\n", id="nested"),
        ("br", b""),
    ],
)
def test_what_is_not_the_protocol_is_refused(encoding: str, chunk: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        list(reader.read_lines([chunk], encoding))


@pytest.mark.parametrize("encoding", ["zstd", "gzip"])
def test_a_small_chunk_cannot_fill_the_memory(encoding: str) -> None:
    compress = zstandard.ZstdCompressor().compressobj() if encoding == "zstd" else zlib.compressobj(wbits=31)
    bomb = b"".join(compress.compress(b" " * 1024 * 1024) for _ in range(300)) + compress.flush()
    assert len(bomb) < 400_000

    tracemalloc.start()
    with pytest.raises(ProtocolBroken, match="too long"):
        list(reader.read_lines([bomb], encoding))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak_bytes < 2 * reader.MAX_LINE_BYTES


def test_unknown_fields_of_a_newer_server_are_passed_over() -> None:
    assert list(reader.read_lines([b'{"applause": {"id": 1}}\n'], "")) == [Line()]
