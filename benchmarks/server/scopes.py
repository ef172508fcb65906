"""What a change of scope costs: 200,000 contacts under 20,000 accounts, related to the accounts' owners and units.

One staging database, no source: the cost of the staging transaction is what is measured, as `jobs/pull.py` runs it.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.ground.figures import Book, Subject
from satchel.database.embedded import EmbeddedPostgres
from satchel.database.migrate import migrate
from satchel.database.pool import Database
from satchel.database.server import ensure_database, url_of
from satchel.jobs.move_windows import move_windows
from satchel.staging.head import read_head
from tests.support.field_organization import StagedOrganization, compiled, item, profile
from tests.support.line_device import LineDevice

ACCOUNTS, CONTACTS, OWNERS, UNITS, ROUNDS = 20_000, 200_000, 500, 20, 15
MANY_BUCKETS = 10_000
PAGE = 5_000
START = datetime(2026, 11, 23, 12, tzinfo=UTC)


def guid(kind: int, number: int) -> str:
    """A key without a pattern that an index could profit from."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}/{number}"))


def account(number: int, owner: int) -> dict[str, Any]:
    modified = (START - timedelta(minutes=number * 3 % 60_000)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"id": guid(1, number), "name": f"a{number}", "owner": guid(3, owner), "unit": guid(4, owner % UNITS),
            "industry": number % 5, "parent": None, "modified": modified, "secret": None}  # fmt: skip


def contact(number: int) -> dict[str, Any]:
    return {"id": guid(2, number), "name": f"c{number}", "owner": guid(3, number % OWNERS), "unit": None,
            "account": guid(1, number % ACCOUNTS), "status": number % 3, "due": None}  # fmt: skip


async def load(staged: StagedOrganization, entity: str, rows: Sequence[dict[str, Any]]) -> float:
    """Stage rows page by page; returns rows a second."""
    began = time.perf_counter()
    for start in range(0, len(rows), PAGE):
        await staged.change(entity, rows[start : start + PAGE])
    return len(rows) / (time.perf_counter() - began)


async def day(database: Database, book: Book) -> None:
    """All figures, in the order of a day in an organization."""
    staged = StagedOrganization(database)
    related = item("contact", related=["account"], columns=["name", "owner", "account", "status"])
    accounts = item("account", rows=["own", "unit"], columns=["name", "owner", "unit", "industry"])
    await staged.make(compiled(profile(accounts, related)), START)
    users = [{"id": guid(3, n), "name": f"u{n}", "unit": guid(4, n % UNITS), "disabled": False} for n in range(OWNERS)]
    await staged.change("user", users)

    def note(figure: str, value: float, unit: str) -> None:
        book.note(Subject(f"scopes: {figure}", unit), [value])

    note(
        "accounts staged with scopes",
        await load(staged, "account", [account(n, n % OWNERS) for n in range(ACCOUNTS)]),
        "rows/s",
    )
    note(
        "contacts staged, scope along the account",
        await load(staged, "contact", [contact(n) for n in range(CONTACTS)]),
        "rows/s",
    )
    await database.fetch("vacuum analyze")
    times = []
    for number in range(ROUNDS):
        began = time.perf_counter()
        await staged.change("account", [account(number, number + 7)])
        times.append((time.perf_counter() - began) * 1000)
    note("one account's owner changes (10 contacts move), median", statistics.median(times), "ms")
    note("one account's owner changes, slowest", max(times), "ms")

    device = LineDevice(guid(3, 3))
    await device.sync(database)
    note("rows of a user", sum(len(rows) for rows in device.rows.values()), "rows")
    await staged.change("contact", [{**contact(3), "name": "renamed"}])
    began = time.perf_counter()
    await device.sync(database)
    note("sync of one change", (time.perf_counter() - began) * 1000, "ms")

    began = time.perf_counter()
    filtered = item("contact", related=["account"], columns=["name", "owner", "account", "status"], rows=["all"],
                    filter="status ne 2", combine="and")  # fmt: skip
    device.rows_put = 0
    await staged.publish(compiled(profile(accounts, filtered)), START)
    note("a filter published: back-fill of 200,000 contacts", time.perf_counter() - began, "s")
    before = sum(len(rows) for rows in device.rows.values())
    await device.sync(database)
    note("a filter published: rows a device got again", device.rows_put, "rows")
    note("a filter published: rows it dropped", before - sum(len(rows) for rows in device.rows.values()), "rows")

    window = item("account", rows=["all"], filter="modified ge now() sub duration'P30D'", columns=["name"])
    await staged.publish(compiled(profile(window)), START)
    await load(staged, "account", [account(n, n % OWNERS) for n in range(ACCOUNTS)])
    await database.fetch("vacuum analyze")
    began = time.perf_counter()
    moved = await move_windows(staged.work, START + timedelta(minutes=10))
    note(f"a time window moves on ({moved} rows of {ACCOUNTS:,})", (time.perf_counter() - began) * 1000, "ms")
    await many_buckets(database, staged, book)


async def many_buckets(database: Database, staged: StagedOrganization, book: Book) -> None:
    """A user of 10,000 buckets: one for each of as many owners."""
    await staged.publish(
        compiled(profile(item("account", rows=["custom"], filter="owner ne @me", columns=["name"]))), START
    )
    await load(staged, "account", [account(n, n) for n in range(MANY_BUCKETS)])
    device = LineDevice(guid(3, 1))
    began = time.perf_counter()
    await device.sync(database)
    first = time.perf_counter() - began
    assert device.cursor is not None
    buckets = len(device.seal.open(device.cursor).held_buckets)
    times = []
    for number in range(ROUNDS):
        await staged.change("account", [{**account(number, number), "name": "again"}])
        began = time.perf_counter()
        await device.sync(database)
        times.append((time.perf_counter() - began) * 1000)
    async with database.connection() as connection:
        head = await read_head(connection)
    for figure, value, unit in (
        ("buckets of a user", buckets, "buckets"),
        (f"first sync with {MANY_BUCKETS:,} buckets", first, "s"),
        (f"sync of one change with {MANY_BUCKETS:,} buckets, median", statistics.median(times), "ms"),
        (f"size of the cursor with {MANY_BUCKETS:,} buckets", len(device.cursor), "bytes"),
        ("ops made in all", int(head.op), "ops"),
    ):
        book.note(Subject(f"scopes: {figure}", unit), [value])


async def run(book: Book) -> None:
    """A server and a database for this measurement alone."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "server") as server:
        await ensure_database(server.url, "scopes")
        async with Database(url_of(server.url, database="scopes"), pool_size=4) as database:
            await migrate(database, "staging")
            await day(database, book)


def measure(book: Book) -> None:
    """All figures of this file."""
    asyncio.run(run(book))
