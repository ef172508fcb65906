"""Fixtures for all tests: a real PostgreSQL server for the run, a database of its own for each test that asks."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from satchel.database.embedded import EmbeddedPostgres
from satchel.database.migrate import migrate
from satchel.database.pool import Database
from satchel.database.server import drop_database, ensure_database, url_of
from tests.support import planted


@pytest.fixture(scope="session", autouse=True)
def nothing_leaks() -> Iterator[None]:
    """No secret of the run stands in output, process lists, logs or the folders of objects."""
    yield
    found = planted.leaks()
    assert not found, "secrets were found:\n" + "\n".join(found)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running PostgreSQL server."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    with EmbeddedPostgres(folder / "server") as server:
        yield server.url


@pytest.fixture
async def staging(postgres_url: str) -> AsyncIterator[Database]:
    """An empty staging database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    await ensure_database(postgres_url, name)
    async with Database(url_of(postgres_url, database=name), pool_size=4) as database:
        # These tests are about what is written, not about power cuts; the kill tests run with the server's defaults.
        await database.fetch("alter role postgres set synchronous_commit = off")
        await migrate(database, "staging")
        yield database
    await drop_database(postgres_url, name)


@pytest.fixture
async def control(postgres_url: str) -> AsyncIterator[Database]:
    """An empty control database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    await ensure_database(postgres_url, name)
    async with Database(url_of(postgres_url, database=name), pool_size=4) as database:
        await migrate(database, "control")
        yield database
    await drop_database(postgres_url, name)
