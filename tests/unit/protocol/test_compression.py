"""Each flush lets the other side decode all that was written so far, in every encoding."""

from __future__ import annotations

import zlib

import pytest
import zstandard

from satchel.protocol.compression import choose_encoding, compressor


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
