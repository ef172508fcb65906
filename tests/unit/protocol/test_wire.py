"""The wire: encodings that cut anywhere, lines of ready-made JSON, links."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satchel.errors import InputInvalid, ProtocolBroken
from satchel.protocol import codec
from satchel.protocol.compression import choose_encoding, compressor
from satchel.protocol.enrolment import format_link, parse_link
from satchel.protocol.messages import Begin, End
from satchel.protocol.reader import read_lines

LINES = [
    codec.begin_line(Begin(1, "m")),
    codec.put_line("contact", ["id", "name"], ['["a","x\\ny"]', '["b","ü"],["c",null]']),
    codec.remove_line("contact", ['"d"', '["e",1]']),
    codec.wipe_line(["task"]),
    codec.cursor_line("c1"),
    codec.end_line(End(1, "c2")),
]


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("zstd, gzip", "zstd"), ("gzip", "gzip"), ("", "identity"), ("br", "identity"), ("*", "zstd"),
        ("zstd;q=0, gzip;q=0.5", "gzip"), ("*;q=0", "identity"), ("zstd;q=x", "identity"), ("GZIP", "gzip"),
    ],
)  # fmt: skip
def test_the_best_accepted_encoding_is_chosen(header: str, encoding: str) -> None:
    assert choose_encoding(header) == encoding


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "identity"])
@given(cuts=st.lists(st.integers(1, 60), min_size=1, max_size=60))
def test_lines_arrive_whole_wherever_the_stream_is_cut(encoding: str, cuts: list[int]) -> None:
    compress = compressor(encoding, 3)
    stream = b"".join(compress.compress(line) + compress.flush() for line in LINES) + compress.finish()
    chunks, at = [], 0
    while at < len(stream):
        size = cuts[len(chunks) % len(cuts)]
        chunks.append(stream[at : at + size])
        at += size

    lines = list(read_lines(chunks, encoding))

    assert len(lines) == len(LINES)
    assert lines[1].rows == [["a", "x\ny"], ["b", "ü"], ["c", None]]
    assert lines[2].keys == ["d", ["e", 1]]
    assert lines[-1].end == End(1, "c2")


def test_a_last_line_that_broke_off_is_dropped() -> None:
    stream = b"".join(LINES)
    assert len(list(read_lines([stream[:-5]], "identity"))) == len(LINES) - 1


@pytest.mark.parametrize("chunk", [b"not json\n", b'{"put": 5}\n', b"\xff\xfe\n"])
def test_what_is_no_line_breaks_the_protocol(chunk: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        list(read_lines([chunk], "identity"))
    with pytest.raises(ProtocolBroken):
        list(read_lines([chunk], "zstd"))


def test_ready_made_rows_are_joined_as_they_are() -> None:
    assert json.loads(LINES[1])["rows"] == [["a", "x\ny"], ["b", "ü"], ["c", None]]


def test_a_link_says_all_a_device_needs() -> None:
    link = parse_link(format_link("https://sync.example:8443", "contoso", "AB-CD", "f" * 64))

    assert (link.server_url, link.organization, link.code, link.ca_fingerprint) == (
        "https://sync.example:8443", "contoso", "AB-CD", "f" * 64,
    )  # fmt: skip
    with pytest.raises(InputInvalid):
        parse_link("https://sync.example/enroll#org=a&code=b&ca=zz")
