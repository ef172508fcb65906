"""How far pools are used, as metrics show it."""

from __future__ import annotations

from satchel.database.pool import Database, pool_use


async def test_use_is_counted_by_kind_while_the_pool_is_open(postgres_url: str) -> None:
    before = pool_use().get("staging")
    assert before is None or before.open == 0
    async with Database(postgres_url, pool_size=2, kind="staging") as database, database.connection():
        assert (pool_use()["staging"].open, pool_use()["staging"].idle) == (1, 0)
        async with database.connection():
            assert pool_use()["staging"].open == 2
    assert pool_use().get("staging") in (before, None)
