"""Each flush lets the other side decode all that was written so far, in every encoding."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest
import zstandard

from satchel.protocol.compression import SealedFrame, choose_encoding, compressor, deflated, joined_checksum


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("", "identity"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("zstd;q=0, gzip;q=0.5", "gzip"),
        ("ZSTD", "zstd"),
        ("*", "zstd"),
        ("*;q=0", "identity"),
        ("br", "identity"),
        ("zstd; q = nonsense, gzip", "gzip"),
    ],
)
def test_the_best_encoding_that_is_accepted_is_chosen(header: str, encoding: str) -> None:
    assert choose_encoding(header) == encoding


def decoder(encoding: str) -> zstandard.ZstdDecompressionObj | zlib._Decompress | None:
    match encoding:
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
        case "gzip":
            return zlib.decompressobj(wbits=31)
    return None


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "identity"])
def test_what_was_flushed_can_be_read_before_the_end(encoding: str) -> None:
    compress, decode = compressor(encoding, 3), decoder(encoding)
    for batch in (b"first\n" * 500, b"second\n", b"third\n" * 9000):
        wire = compress.compress(batch) + compress.flush()
        assert (decode.decompress(wire) if decode else wire) == batch
    wire = compress.finish()
    assert (decode.decompress(wire) if decode else wire) == b""


def test_checksums_of_parts_give_that_of_the_whole() -> None:
    r = random.Random(7)
    for size in (0, 1, 2, 255, 65_537, 3_000_001):
        first, second = r.randbytes(r.randint(0, 1_000)), r.randbytes(size)
        assert joined_checksum(zlib.crc32(first), zlib.crc32(second), size) == zlib.crc32(first + second)


def sealed_as(encoding: str, content: bytes) -> SealedFrame:
    frame = zstandard.ZstdCompressor().compress(content)
    return deflated(frame, 6) if encoding == "gzip" else SealedFrame(frame)


@pytest.mark.parametrize("encoding", ["zstd", "gzip"])
def test_what_was_compressed_before_follows_and_is_followed(encoding: str) -> None:
    r = random.Random(encoding)
    words = [b"one and the same line\n" * 40, *(r.randbytes(size) * 3 for size in (1, 300, 40_000))]
    for _ in range(40):
        compress, decode, wire = compressor(encoding, 3), decoder(encoding), b""
        plain, decoded = b"", b""
        for _ in range(r.randint(1, 9)):
            word = r.choice(words)  # alike on both sides of a frame: nothing may refer across it
            plain += word
            is_sealed = r.random() < 0.5
            part = compress.splice(sealed_as(encoding, word)) if is_sealed else compress.compress(word)
            part += b"" if is_sealed else compress.flush()
            assert decode
            decoded += decode.decompress(part)
            assert decoded == plain  # readable at once
            wire += part
        wire += compress.finish()
        assert (gzip.decompress(wire) if encoding == "gzip" else decoded) == plain


def test_a_gzip_answer_is_one_member() -> None:
    compress, word = compressor("gzip", 3), b"line\n" * 9
    wire = compress.compress(word) + compress.splice(sealed_as("gzip", word)) + compress.compress(word)
    wire += compress.finish()
    first = zlib.decompressobj(wbits=31)
    assert first.decompress(wire) == word * 3
    assert first.eof
    assert not first.unused_data


def test_the_same_content_has_the_same_gzip_frame() -> None:
    frame = zstandard.ZstdCompressor().compress(b"content" * 1000)
    assert deflated(frame, 6) == deflated(frame, 6)
