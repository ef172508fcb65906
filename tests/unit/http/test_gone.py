"""A client that goes away while it waits: nothing is done for it any more."""

from __future__ import annotations

import asyncio
from typing import Any

from satchel.http.polls import _unless_gone


async def _never() -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def test_who_goes_away_waits_no_longer() -> None:
    has_ended = asyncio.Event()

    async def wait() -> bool:
        try:
            await asyncio.Event().wait()
        finally:
            has_ended.set()
        return True

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    assert not await asyncio.wait_for(_unless_gone(wait(), gone), 5)
    await asyncio.wait_for(has_ended.wait(), 5)


async def test_who_stays_hears_what_comes() -> None:
    async def news() -> bool:
        return True

    assert await asyncio.wait_for(_unless_gone(news(), _never), 5)
