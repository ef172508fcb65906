"""While a page is worked on the next one is read: one, in order, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from satchel.errors import SourceUnreachable
from satchel.jobs.pull import ahead


class Pages:
    """A source of numbered pages."""

    def __init__(self, count: int, *, breaks_at: int | None = None) -> None:
        self.read: list[int] = []
        self.is_closed = False
        self._count, self._breaks_at = count, breaks_at

    async def __aiter__(self) -> AsyncIterator[int]:
        try:
            for number in range(self._count):
                await asyncio.sleep(0)
                if number == self._breaks_at:
                    raise SourceUnreachable
                self.read.append(number)
                yield number
        finally:
            self.is_closed = True


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_page_is_read_ahead_and_no_more() -> None:
    source, seen = Pages(5), []
    async with aclosing(ahead(aiter(source))) as pages:
        async for page in pages:
            await settle()
            assert source.read == list(range(min(page + 2, 5)))
            seen.append(page)
    assert seen == [0, 1, 2, 3, 4]


async def test_an_error_comes_behind_the_pages_before_it() -> None:
    seen = []

    async def read() -> None:
        async with aclosing(ahead(aiter(Pages(5, breaks_at=2)))) as pages:
            async for page in pages:
                await settle()
                seen.append(page)

    with pytest.raises(SourceUnreachable):
        await read()
    assert seen == [0, 1]


async def test_who_stops_early_stops_the_reading() -> None:
    source = Pages(100)
    async with aclosing(ahead(aiter(source))) as pages:
        async for page in pages:
            if page == 1:
                break
    await settle()
    assert source.read[-1] <= 2
    assert source.is_closed
