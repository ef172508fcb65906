"""The cursor: small, sealed, and nobody else's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satchel.errors import CursorExpired, CursorInvalid
from satchel.model.ids import BucketId
from satchel.model.packing import pack_buckets, unpack_buckets
from satchel.sync.cursor import CursorSeal, CursorState

SEAL = CursorSeal([b"k" * 32], "contoso", "device 1")
STATE = CursorState(epoch="e", checkpoint=7, binding=2, entities={"contact": "a/b"}, held=pack_buckets([BucketId(5)]))


@given(st.sets(st.integers(1, 2**40), max_size=200))
def test_bucket_sets_survive_packing(buckets: set[int]) -> None:
    assert set(unpack_buckets(pack_buckets(BucketId(b) for b in buckets))) == buckets


def test_ten_thousand_buckets_make_a_cursor_of_some_kilobytes() -> None:
    state = CursorState(epoch="e", held=pack_buckets(BucketId(n * 50) for n in range(1, 10_001)))

    assert len(SEAL.seal(state)) < 20_000
    assert len(SEAL.open(SEAL.seal(state)).held_buckets) == 10_000


def test_a_cursor_opens_for_its_device_only() -> None:
    token = SEAL.seal(STATE)

    assert SEAL.open(token) == STATE
    for other in (CursorSeal([b"k" * 32], "contoso", "device 2"), CursorSeal([b"k" * 32], "fabrikam", "device 1")):
        with pytest.raises(CursorInvalid):
            other.open(token)


def test_a_cursor_of_an_older_key_starts_over() -> None:
    with pytest.raises(CursorExpired):
        CursorSeal([b"n" * 32], "contoso", "device 1").open(SEAL.seal(STATE))


@given(st.text(max_size=200))
def test_no_text_passes_as_a_cursor(text: str) -> None:
    with pytest.raises((CursorInvalid, CursorExpired)):
        SEAL.open(text)
