"""How far pools are used, as metrics show it, and that unused ones hold no connection."""

from __future__ import annotations

import asyncio

import pytest

from satchel.database.pool import Database, pool_use
from satchel.errors import StoreBusy


async def test_use_is_counted_by_kind_while_the_pool_is_open(postgres_url: str) -> None:
    before = pool_use().get("staging")
    assert before is None or before.open == 0
    async with Database(postgres_url, pool_size=2, kind="staging") as database, database.connection():
        assert (pool_use()["staging"].open, pool_use()["staging"].idle) == (1, 0)
        async with database.connection():
            assert pool_use()["staging"].open == 2
    assert pool_use().get("staging") in (before, None)


async def test_who_is_not_used_holds_no_connection(postgres_url: str) -> None:
    async with Database(postgres_url, pool_size=3) as database:
        async with database.connection() as used, database.connection():
            await database.rest(0.0)
            assert not used.closed  # somebody uses it
        await database.rest(3600.0)
        assert database.use.open == 2
        await database.rest(0.0)
        assert database.use.open == 0
        found = await asyncio.gather(*(database.fetch("select 1") for _ in range(5)))
        assert found == [[(1,)]] * 5
        await database.rest(0.0)
        await database.rest(0.0)
    with pytest.raises(StoreBusy):
        await database.fetch("select 1")
    await database.rest(0.0)
    assert database.use.open == 0
