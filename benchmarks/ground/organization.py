"""An organization of Satchel with the contacts in it: source, servers and worker each in a process of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import psycopg

from benchmarks.ground.processes import Program, program, python
from satchel.assembly import Rooms, control_url, open_rooms, server_url
from satchel.database.server import url_of
from satchel.jobs.apply import apply_page
from satchel.jobs.organization import notify_head
from satchel.model.changes import Page, Strategy, Watermark
from satchel.settings.load import load
from satchel.staging.head import read_scopes
from tests.support.processes import Satchel, satchel

ALL, OWN = "everyone", "owners"
"""Organizations: in one everybody has every contact, in the other each owner has their own."""
QUIET = {
    "SATCHEL_SCHEDULE__PULL_INTERVAL_SECONDS": "3600",
    "SATCHEL_SCHEDULE__FULL_READ_INTERVAL_SECONDS": "3600",
    "SATCHEL_SCHEDULE__DELETION_CHECK_INTERVAL_SECONDS": "86400",
    "SATCHEL_SCHEDULE__TICK_SECONDS": "1",
    "SATCHEL_SYNC__HEAD_REREAD_SECONDS": "5",
    "SATCHEL_LOG__LEVEL": "warning",
}
"""Nothing recurs while something is measured; what devices meet is as it is by default."""


def profile(rows: str) -> str:
    """A profile that offers contacts, all columns."""
    return f'name = "contacts"\n[[entity]]\nname = "contacts"\nrows = ["{rows}"]\nowner = "owner"\n'


class Organization:
    """One organization, and what an administrator and a worker do to it."""

    def __init__(self, running: Satchel, name: str, source_url: str) -> None:
        """Nothing is made yet."""
        self.running = running
        self.name = name
        self.source_url = source_url
        self._folder = running.folder.parent

    def register(self, rows: str) -> None:
        """Register; nothing is read yet but the metadata."""
        text = self._folder / f"{self.name}.toml"
        text.write_text(profile(rows))
        self.running.run(
            "org", "add", self.name, "--kind", "odata", "--source", self.source_url, "--profile", str(text)
        )

    def provision(self) -> None:
        """Provision, and wait until every entity was pulled once."""
        self.running.run("org", "provision", self.name, "--wait")

    def is_pulled(self) -> bool:
        """Every row was staged once."""
        try:
            return bool(self.query("select 1 from satchel.watermark where pulled_at is not null"))
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):  # its database is not made yet
            return False

    def pull(self) -> None:
        """Bring staging to where the source stands."""
        self.running.run("org", "pull", self.name, "--wait")

    def invite(self, user: str = "someone") -> str:
        """An enrolment link."""
        return self.running.invite(user, self.name)

    def staging_url(self) -> str:
        """The organization's staging database, as the superuser."""
        settings = load(None, self.running.environment, {})
        with psycopg.connect(control_url(settings)) as connection:
            row = connection.execute(
                "select database_name from satchel.organization where name = %s", [self.name]
            ).fetchone()
        assert row is not None
        return url_of(server_url(settings), database=str(row[0]))

    def query(self, sql: Any, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Ask the staging database."""
        with self.connect() as connection:
            return connection.execute(sql, parameters).fetchall()

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection to the staging database, each statement a transaction."""
        return psycopg.connect(self.staging_url(), autocommit=True)

    def server_pids(self) -> list[int]:
        """The sync server's process."""
        return [self.running.pids()["sync"]]


class Contacts:
    """A running Satchel and its source."""

    def __init__(self, folder: Path, running: Satchel, source: Program, ready: dict[str, Any]) -> None:
        """`folder` is for all that is measured with."""
        self.folder = folder
        self.rows = int(ready["rows"])
        self.running = running
        self.source = source
        self.source_url = str(ready["url"])
        self.http = httpx.Client(base_url=self.source_url, timeout=60)

    def organization(self, name: str = ALL, rows: str = "all") -> Organization:
        """Make an organization of the contacts."""
        made = Organization(self.running, name, self.source_url)
        made.register(rows)
        made.provision()
        return made


@contextmanager
def contacts_at(folder: Path, rows: int, **settings: str) -> Iterator[Contacts]:
    """Satchel and a source of so many contacts."""
    folder.mkdir(parents=True, exist_ok=True)
    with program(python("benchmarks.ground.source", "--rows", rows), folder / "source.log") as source:
        ready = source.answer()
        with satchel(folder / "data", **{**QUIET, **settings}) as running:
            made = Contacts(folder, running, source, ready)
            try:
                yield made
            finally:
                made.http.close()


class Inside:
    """What a worker or an administrator does, in our own process: the product's rooms, run step by step."""

    def __init__(self, running: Satchel) -> None:
        """Open nothing yet."""
        self._running = running
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()

    def __enter__(self) -> Self:
        """Open the rooms."""
        settings = load(None, self._running.environment, {})
        self.rooms: Rooms = self.run(lambda: self._stack.enter_async_context(open_rooms(settings)))
        return self

    def __exit__(self, *_: object) -> None:
        """Close them."""
        self.run(self._stack.aclose)
        self._runner.close()

    def run(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run something to its end."""
        return self._runner.run(make())

    def open(self, name: str) -> StagingWriter:
        """Write to an organization's staging database."""
        organization = self.run(lambda: self.rooms.organizations.get(name))
        staging = self.rooms.databases.open(organization, pool_size=2)
        self.run(lambda: self._stack.enter_async_context(staging))
        return StagingWriter(self, name, staging)


class StagingWriter:
    """Pages into one organization's staging database, as the worker writes them."""

    def __init__(self, inside: Inside, name: str, staging: Any) -> None:
        """Keep all three."""
        self.committed_at = 0.0
        """Of the newest change, on the monotonic clock."""
        self._inside = inside
        self._name = name
        self._staging = staging

    def change(self, rows: Sequence[dict[str, Any]], *, is_notified: bool = True) -> None:
        """Stage rows, assign them, commit, and tell the sync servers."""
        self._inside.run(lambda: self._change(rows, is_notified=is_notified))

    async def _change(self, rows: Sequence[dict[str, Any]], *, is_notified: bool) -> None:
        page = Page(
            rows=msgspec.json.encode(list(rows)), row_count=len(rows), removed=(), is_last=True,
            watermark=Watermark(strategy=Strategy.DELTA_LINK, position="here"),
        )  # fmt: skip
        async with self._staging.transaction() as connection:
            entity = (await read_scopes(connection)).maintained.entity_by_name["contacts"]
            _, head = await apply_page(connection, entity, page)
        self.committed_at = time.monotonic()
        if head is not None and is_notified:
            await notify_head(self._inside.rooms.control, self._name, head)
