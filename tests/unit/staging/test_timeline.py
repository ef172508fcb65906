"""A database brought back to an earlier moment: devices that saw what is gone start over."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from satchel.database import embedded
from satchel.database.embedded import EmbeddedPostgres
from satchel.database.migrate import migrate
from satchel.database.pool import Database
from satchel.staging.head import Head, make_head, read_head
from satchel.staging.timeline import notice_timeline, stamp_timeline
from tests.support.processes import wait_for


async def _head(url: str) -> Head:
    async with (
        Database(url, pool_size=2, on_connect=notice_timeline) as staging,
        staging.connection() as one,
        staging.connection() as other,
    ):
        head = await read_head(one)
        assert await read_head(other) == head
        return head


def _bring_back(server: EmbeddedPostgres, folder: Path) -> str:
    """Stop it, and start it as from an archive: PostgreSQL ends the recovery on another timeline."""
    server.stop()
    data = folder / "data"
    (data / "recovery.signal").touch()
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write("restore_command = 'false'\n")
    url = server.start()

    def is_through() -> bool:
        with psycopg.connect(url) as connection:
            return connection.execute("select not pg_is_in_recovery()").fetchone() == (True,)

    wait_for(is_through, "the recovery to end")
    return url


async def test_another_timeline_is_another_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(embedded._SETTINGS, "wal_level", "replica")  # as servers with archives and standbys have it
    folder = tmp_path / "server"
    server = EmbeddedPostgres(folder)
    try:
        url = server.start()
        async with Database(url, pool_size=1, on_connect=notice_timeline) as staging:
            await migrate(staging, "staging")
            async with staging.transaction() as connection:
                await make_head(connection, "first")
        assert (await _head(url)).epoch == "first"
        server.stop()
        url = server.start()
        assert (await _head(url)).epoch == "first"  # a mere restart

        url = _bring_back(server, folder)
        second = (await _head(url)).epoch
        assert second != "first"
        assert (await _head(url)).epoch == second

        url = _bring_back(server, folder)
        async with Database(url, pool_size=1) as staging, staging.transaction() as connection:
            await stamp_timeline(connection)  # it was moved here whole
        assert (await _head(url)).epoch == second
        assert (await _head(_bring_back(server, folder))).epoch not in {"first", second}
    finally:
        server.stop()
