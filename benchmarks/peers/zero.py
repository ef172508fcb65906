"""Zero: zero-cache on PostgreSQL with logical replication, its own client in memory in Node."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg

from benchmarks.data import COLUMNS, Contact
from benchmarks.ground.processes import Program, cpu_seconds, family, megabytes, program
from benchmarks.peers import node
from benchmarks.peers.peer import Costs
from benchmarks.peers.postgres import PeerPostgres, database_bytes
from benchmarks.peers.wire import relay
from tests.support.processes import free_port, wait_for

PROJECT = Path(__file__).with_name("zero")
ROUNDS, PAUSE_SECONDS = 20, 0.1
READY_SECONDS = 120.0
_COPIED = re.compile(r"Synced [\d,]+ rows of .*total: ([\d.]+) ms")
_ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}
_TYPES = {"statecode": "integer", "credit": "double precision", "ver": "integer", "optout": "boolean"}


class Zero:
    """A running zero-cache with all rows in its replica."""

    about = (
        "Zero 1.9.0: zero-cache with its replica on the same machine, PostgreSQL 18 upstream, its client in Node with"
        " the store in memory, one query for all rows over a plain WebSocket."
    )

    def __init__(
        self, server: Program, command: list[str], port: int, upstream: str, folder: Path, place: Path
    ) -> None:
        """Keep all of it."""
        self.name = f"Zero {node.version(place, '@rocicorp/zero')}"
        self._server, self._command, self._port = server, command, port
        self._upstream, self._folder, self._place = upstream, folder, place
        self.rows: Sequence[Contact] = ()
        self.ingest = 0.0

    def first_sync(self) -> float:
        """A new client with an empty store."""
        found = self._sync(self._port)
        return float(found["rows"] / found["seconds"])

    def costs(self) -> Costs:
        """All else."""
        rows = len(self.rows)
        before = self._spent()
        with relay(self._port) as between:
            self._sync(between.port)
        spent = self._spent() - before
        replica = sum(file.stat().st_size for file in self._folder.glob("replica*"))
        return Costs(
            wire_bytes=between.bytes_down / rows,
            first_sync_ms=1000 * spent * 100_000 / rows,
            server_bytes=(replica + database_bytes(self._upstream)) / rows,
            server_megabytes=sum(map(megabytes, family(self._server.pid))),
            ingest=self.ingest,
            visible_ms=self._visible(),
        )

    def _visible(self) -> list[float]:
        waits, row = [], self.rows[0]
        with self._client() as client, psycopg.connect(self._upstream, autocommit=True) as connection:
            client.ask({"watch": row.id, "rows": len(self.rows), "url": self._url(self._port)}, 300)
            for number in range(ROUNDS):
                time.sleep(PAUSE_SECONDS)
                connection.execute("update contacts set jobtitle = %s where id = %s", [f"round {number}", row.id])
                began = time.monotonic()
                waits.append(1000 * (float(client.answer(60)["moment"]) - began))
        return waits

    def _sync(self, port: int) -> dict[str, Any]:
        with self._client() as client:
            found: dict[str, Any] = client.ask({"sync": len(self.rows), "url": self._url(port)}, 300)
        assert found["rows"] == len(self.rows), found
        return found

    def _client(self) -> Any:
        return program([*self._command, str(self._place / "client.mjs")], self._folder / "client.log", self._place)

    def _spent(self) -> float:
        return cpu_seconds(family(self._server.pid))

    def _url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"


@contextmanager
def zero(rows: Sequence[Contact], folder: Path) -> Iterator[Zero]:
    """Install, fill PostgreSQL, start, wait until the replica is complete."""
    place = node.install(PROJECT)
    node_folder = place / "node_modules" / f"node-linux-{_ARCHITECTURES[platform.machine()]}" / "bin"
    command = [str(node_folder / "node")]
    folder.mkdir(parents=True)
    port, query_port = free_port(), free_port()
    with PeerPostgres(folder / "postgres") as postgres:
        upstream = postgres.database("contacts")
        fill(upstream, rows)
        asks = [*command, str(place / "queries.mjs"), str(query_port)]
        with program(asks, folder / "queries.log", place) as answering:
            answering.answer()
            settings = {
                "ZERO_UPSTREAM_DB": upstream, "ZERO_REPLICA_FILE": str(folder / "replica.db"), "ZERO_PORT": str(port),
                "ZERO_QUERY_URL": f"http://127.0.0.1:{query_port}/query", "ZERO_ADMIN_PASSWORD": "bench",
                "ZERO_ENABLE_TELEMETRY": "false", "DO_NOT_TRACK": "1", "NODE_ENV": "development",
                "PATH": f"{node_folder}{os.pathsep}{os.environ['PATH']}",
            }  # fmt: skip
            cache = str(place / "node_modules" / "@rocicorp" / "zero" / "out" / "zero" / "src" / "cli.js")
            with program([*command, cache], folder / "zero.log", place, is_asked=False, **settings) as server:
                wait_for(lambda: _answers(port), "zero-cache", READY_SECONDS)
                running = Zero(server, command, port, upstream, folder, place)
                running.rows, running.ingest = rows, 1000 * len(rows) / _copied_ms(folder / "zero.log")
                yield running


def fill(url: str, rows: Sequence[Contact]) -> None:
    """The rows into PostgreSQL, with the indexes that Satchel's copy and devices have."""
    columns = ", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in COLUMNS)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create table contacts ({columns}, primary key (id))")  # type: ignore[arg-type]
        with connection.cursor().copy("copy contacts from stdin") as copy:
            for row in rows:
                copy.write_row(row.values())
        connection.execute("create index on contacts (account)")
        connection.execute("create index on contacts (owner)")


def _copied_ms(log: Path) -> float:
    """How long zero-cache says that its first copy of all tables took."""
    return float(_COPIED.findall(log.read_text())[-1])


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").is_success
    except httpx.HTTPError:
        return False
