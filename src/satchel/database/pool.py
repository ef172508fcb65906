"""A pool of connections to one database, and the transaction that every write and every consistent read runs in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString, NamedTuple, Self
from weakref import WeakSet

import psycopg
from opentelemetry import trace
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from satchel.errors import StoreBusy

CONNECT_WAIT_SECONDS = 20.0
IDLE_SECONDS = 4.0
"""How long connections to an organization's database stand without use."""
_open: WeakSet[Database] = WeakSet()
_tracer = trace.get_tracer("satchel")

Connection = psycopg.AsyncConnection[TupleRow]


def connects_with(passwords: Callable[[], Sequence[str]]) -> type[Connection]:
    """Connections that try these passwords in turn: while a master key is replaced, either may be the role's."""

    class Trying(psycopg.AsyncConnection[TupleRow]):
        @classmethod
        async def connect(cls, conninfo: str = "", **more: Any) -> Self:
            """Connect with the first password that the server takes."""
            *others, last = passwords()
            for password in others:
                try:
                    return await super().connect(conninfo, **{**more, "password": password})
                except psycopg.OperationalError as error:
                    if "password authentication failed" not in str(error):
                        raise
            return await super().connect(conninfo, **{**more, "password": last})

    return Trying


class PoolUse(NamedTuple):
    """How far pools are used."""

    open: int
    idle: int
    waiting: int
    """Requests that wait for a connection."""


class Database:
    """One database. Lost connections become StoreBusy, so that a caller waits instead of failing."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int,
        statement_timeout_seconds: float = 0.0,
        connection_class: type[Connection] = psycopg.AsyncConnection,
        kind: str = "control",
        on_connect: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:
        """Prepare the pool; nothing is connected before `open`. `kind`: under which its use is counted. `on_connect`:
        done with each new connection before it is used."""
        self.url = url
        self.kind = kind
        options = f"-c TimeZone=UTC -c statement_timeout={int(statement_timeout_seconds * 1000)}"
        self._make_pool: Callable[[], AsyncConnectionPool[Connection]] = lambda: AsyncConnectionPool(
            url,
            connection_class=connection_class,
            min_size=0,
            max_size=pool_size,
            open=False,
            timeout=CONNECT_WAIT_SECONDS,
            max_idle=60.0,
            reconnect_timeout=5.0,
            check=AsyncConnectionPool.check_connection,
            configure=on_connect,
            kwargs={"autocommit": True, "options": options, "prepare_threshold": 3, "application_name": "satchel"},
        )
        self._pool = self._make_pool()
        self._is_closed = False
        self._users = 0
        self._used_at = 0.0

    async def __aenter__(self) -> Self:
        """Open the pool."""
        await self._pool.open()
        _open.add(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the pool."""
        await self.close()

    @property
    def use(self) -> PoolUse:
        """How far it is used now."""
        stats = self._pool.get_stats()
        return PoolUse(stats["pool_size"], stats["pool_available"], stats["requests_waiting"])

    async def close(self) -> None:
        """Close all connections."""
        _open.discard(self)
        self._is_closed = True
        await self._pool.close()

    async def rest(self, idle_seconds: float) -> None:
        """Close the connections where nobody used one for so long; the next who asks connects anew."""
        if self._users or self._is_closed or not self.use.open or time.monotonic() - self._used_at < idle_seconds:
            return
        pool, self._pool = self._pool, self._make_pool()
        await pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection outside of a transaction (each statement commits by itself).

        Errors: StoreBusy.
        """
        self._users += 1
        try:
            if self._pool.closed and not self._is_closed:
                await self._pool.open()  # it was at rest
            async with self._pool.connection() as connection:
                yield connection
        except (PoolTimeout, psycopg.OperationalError, psycopg.errors.AdminShutdown) as error:
            raise StoreBusy(f"The database does not answer: {_reason(error)}") from error
        except psycopg.errors.ReadOnlySqlTransaction as error:
            raise StoreBusy("The organization's database is moving to another server.") from error
        finally:
            self._users -= 1
            self._used_at = time.monotonic()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A read-write transaction, committed at the end of the block."""
        async with _span("transaction"), self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """A read-only transaction in which every statement sees the same state."""
        async with _span("snapshot"), self.connection() as connection, connection.transaction():
            await connection.execute("set transaction isolation level repeatable read, read only")
            yield connection

    async def fetch(self, query: LiteralString, parameters: dict[str, Any] | None = None) -> list[TupleRow]:
        """Run one statement and return its rows."""
        async with self.connection() as connection:
            cursor = await connection.execute(query, parameters)
            return await cursor.fetchall() if cursor.description else []


async def keep_resting(kind: str, idle_seconds: float = IDLE_SECONDS) -> None:
    """Close connections to databases of this kind that nobody uses, until cancelled: there may be hundreds of these
    databases, and each connection is a process of its own at the server."""
    while True:
        await asyncio.sleep(idle_seconds / 2)
        for database in list(_open):
            if database.kind == kind:
                await database.rest(idle_seconds)


def pool_use() -> dict[str, PoolUse]:
    """How far this process uses its pools, by the kind of database: control, staging."""
    found: dict[str, PoolUse] = {}
    for database in list(_open):
        so_far, use = found.get(database.kind, PoolUse(0, 0, 0)), database.use
        found[database.kind] = PoolUse(*(a + b for a, b in zip(so_far, use, strict=True)))
    return found


@asynccontextmanager
async def _span(name: str) -> AsyncIterator[None]:
    """A span where something is traced; elsewhere nothing, at no cost."""
    if not trace.get_current_span().get_span_context().is_valid:
        yield
        return
    with _tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False):
        yield


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
