"""From one bucket to 10,000 that a user is bound to: the first sync, and the sync of one change."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import subjects
from benchmarks.ground.figures import Book, Curve
from benchmarks.server.scopes import START, account, guid, load
from satchel.database.embedded import EmbeddedPostgres
from satchel.database.migrate import migrate
from satchel.database.pool import Database
from satchel.database.server import ensure_database, url_of
from tests.support.field_organization import StagedOrganization, compiled, item, profile
from tests.support.line_device import LineDevice

MOST = 10_000
COUNTS = (1, 10, 100, 1_000, MOST)
ROWS, ROUNDS = 10_000, 9
"""However many buckets there are, so many rows are in them."""


async def one_count(server_url: str, count: int) -> tuple[int, float, float]:
    """Buckets held, milliseconds of the first sync, median milliseconds of the sync of one change."""
    name = f"buckets{count}"
    await ensure_database(server_url, name)
    async with Database(url_of(server_url, database=name), pool_size=4) as database:
        await migrate(database, "staging")
        staged = StagedOrganization(database)
        everything = item("account", rows=["custom"], filter="owner ne @me", columns=["name"])
        await staged.make(compiled(profile(everything)), START)
        await staged.change("user", [{"id": guid(3, MOST + 1), "name": "reader", "unit": None, "disabled": False}])
        await load(staged, "account", [account(n, n % count) for n in range(ROWS)])
        await database.fetch("vacuum analyze")
        device = LineDevice(guid(3, MOST + 1))
        began = time.perf_counter()
        await device.sync(database)
        first = 1000 * (time.perf_counter() - began)
        assert sum(len(rows) for rows in device.rows.values()) == ROWS
        times = []
        for number in range(ROUNDS):
            await staged.change("account", [{**account(number, number % count), "name": "again"}])
            began = time.perf_counter()
            await device.sync(database)
            times.append(1000 * (time.perf_counter() - began))
        assert device.cursor is not None
        held = len(device.seal.open(device.cursor).held_buckets)
    return held, first, statistics.median(times)


async def _all(counts: Sequence[int]) -> list[tuple[int, float, float]]:
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "server") as server:
        return [await one_count(server.url, count) for count in counts]


def measure(book: Book, counts: Sequence[int] = COUNTS) -> None:
    """A curve over all counts."""
    found = asyncio.run(_all(counts))
    book.note(subjects.BUCKETS, [found[-1][0]], f"first sync {found[-1][1]:,.0f} ms, one change {found[-1][2]:,.0f} ms")
    book.curve(
        Curve(
            name="buckets",
            x="buckets of a user",
            y="ms",
            series={
                f"first sync of {ROWS:,} rows": [(held, first) for held, first, _ in found],
                "sync of one change": [(held, one) for held, _, one in found],
            },
        )
    )
