"""Kinto on PostgreSQL, read by kinto-http. It has no local store: what a client reads is in its memory as JSON."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg

from benchmarks.data import Contact
from benchmarks.ground.load import Request, requests_a_second
from benchmarks.ground.processes import Program, cpu_seconds, family, megabytes, program
from benchmarks.peers.peer import CACHE, Costs
from benchmarks.peers.postgres import PeerPostgres, database_bytes
from benchmarks.peers.wire import relay
from tests.support.processes import free_port, wait_for

REQUIREMENTS = Path(__file__).with_name("kinto.txt")
CLIENT = Path(__file__).with_name("kinto_client.py")
LOADED_BY_CLIENT = 500
CREDENTIALS = "Basic YmVuY2g6YmVuY2g="
VERSION = next(line for line in REQUIREMENTS.read_text().splitlines() if line.startswith("kinto==")).partition("==")[2]
_CONFIGURATION = """
[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = {port}
threads = 8
[app:main]
use = egg:kinto
kinto.userid_hmac_secret = bench
kinto.bucket_create_principals = system.Everyone
multiauth.policies = basicauth
multiauth.policy.basicauth.use = kinto.core.authentication.BasicAuthAuthenticationPolicy
kinto.batch_max_requests = 500
kinto.paginate_by = 10000
kinto.storage_max_fetch_size = 10000
kinto.storage_backend = kinto.core.storage.postgresql
kinto.storage_url = {url}
kinto.permission_backend = kinto.core.permission.postgresql
kinto.permission_url = {url}
kinto.cache_backend = kinto.core.cache.memory
"""

_REST = """
with made as (
  insert into objects (id, parent_id, resource_name, last_modified, data, deleted)
  select data->>'id', o.parent_id, o.resource_name, o.newest + number * interval '1 ms', data - 'id', false
  from more, (select parent_id, resource_name, max(last_modified) as newest from objects
              where resource_name = 'record' group by parent_id, resource_name) o
  returning parent_id, resource_name, last_modified)
update timestamps t set last_modified = m.newest
from (select parent_id, resource_name, max(last_modified) as newest from made group by parent_id, resource_name) m
where t.parent_id = m.parent_id and t.resource_name = m.resource_name
"""
"""Rows as its API leaves them, each a millisecond newer than the one before."""


class Kinto:
    """A running Kinto with all rows in it."""

    name = f"Kinto {VERSION}"
    about = (
        f"Kinto {VERSION}: waitress with 8 threads on PostgreSQL, read by kinto-http in pages of 10,000 over plain"
        " HTTP, without a local store (its figure is the reading alone)."
    )

    def __init__(self, python: Path, server: Program, port: int, database: str, folder: Path) -> None:
        """Keep all of it."""
        self._python, self._server, self._port = python, server, port
        self._database, self._folder = database, folder
        self._rows, self._ingest = 0, 0.0

    def load(self, rows: Sequence[Contact]) -> None:
        """Some rows by its own client, which is timed; the others straight into its table, to save minutes."""
        file = self._folder / "rows.ndjson"
        file.write_bytes(b"\n".join(map(msgspec.json.encode, rows[:LOADED_BY_CLIENT])))
        found = self._ask("load", self._url(self._port), str(file))
        self._ingest = found["rows"] / found["seconds"]
        with psycopg.connect(self._database) as connection:
            connection.execute("create temp table more (number serial, data jsonb)")
            with connection.cursor().copy("copy more (data) from stdin") as copy:
                for row in rows[LOADED_BY_CLIENT:]:
                    copy.write_row([msgspec.json.encode(row).decode()])
            connection.execute("set local session_replication_role = replica")
            connection.execute(_REST)
        self._rows = len(rows)

    def first_sync(self) -> float:
        """Read all rows."""
        found = self._ask("read", self._url(self._port))
        assert found["rows"] == self._rows, found
        return float(found["rows"] / found["seconds"])

    def costs(self) -> Costs:
        """All else."""
        pids, rows = family(self._server.pid), self._rows
        before = cpu_seconds(pids)
        with relay(self._port) as between:
            self._ask("read", self._url(between.port))
        return Costs(
            wire_bytes=between.bytes_down / rows,
            first_sync_ms=1000 * (cpu_seconds(pids) - before) * 100_000 / rows,
            server_bytes=database_bytes(self._database) / rows,
            server_megabytes=sum(map(megabytes, pids)),
            ingest=self._ingest,
            polls=self._polls(),
        )

    def _polls(self) -> float:
        url = f"{self._url(self._port)}/buckets/bench/collections/contacts/records"
        etag = httpx.head(url, headers={"Authorization": CREDENTIALS}).headers["etag"].strip('"')
        return requests_a_second(f"{url}?_since={etag}", [Request("", CREDENTIALS)], self._folder, "GET")

    def _ask(self, *arguments: str) -> dict[str, Any]:
        with program([str(self._python), str(CLIENT), *arguments], self._folder / "client.log") as client:
            found: dict[str, Any] = client.answer(600)
        return found

    def _url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}/v1"


@contextmanager
def kinto(rows: Sequence[Contact], folder: Path) -> Iterator[Kinto]:
    """Install, start, load."""
    python, port = install(), free_port()
    folder.mkdir(parents=True)
    configuration = folder / "kinto.ini"
    with PeerPostgres(folder / "postgres") as database:
        url = database.database("kinto")
        configuration.write_text(_CONFIGURATION.format(port=port, url=url))
        command = [str(python.parent / "kinto"), "migrate", "--ini", str(configuration)]
        _run(command)
        with program([*command[:1], "start", *command[2:]], folder / "kinto.log", is_asked=False) as server:
            wait_for(lambda: _answers(port), "Kinto")
            running = Kinto(python, server, port, url, folder)
            running.load(rows)
            yield running


def install() -> Path:
    """Its own environment; returns the interpreter."""
    place = CACHE / "kinto"
    python, mark = place / "bin" / "python", place / ".installed"
    if not mark.exists() or mark.read_text() != REQUIREMENTS.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(REQUIREMENTS)]
        subprocess.run(command, check=True, timeout=600, capture_output=True)
        mark.write_text(REQUIREMENTS.read_text())
    return python


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v1/").is_success
    except httpx.HTTPError:
        time.sleep(0.1)
        return False


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
