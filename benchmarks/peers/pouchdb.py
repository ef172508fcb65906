"""express-pouchdb with PouchDB's own client, both over LevelDB."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from benchmarks.data import Contact
from benchmarks.ground.load import Request, requests_a_second
from benchmarks.ground.processes import Program, cpu_seconds, megabytes, program
from benchmarks.peers import node
from benchmarks.peers.peer import Costs
from benchmarks.peers.wire import relay
from tests.support.processes import free_port

PROJECT = Path(__file__).with_name("pouchdb")
ROUNDS = 20


class PouchDB:
    """A running express-pouchdb with all rows in it."""

    about = (
        "express-pouchdb 4.2.0: over LevelDB, replicated by PouchDB 9.0.0 in Node into LevelDB over plain HTTP, batches"
        " of 1,000; LevelDB has no secondary indexes."
    )

    def __init__(self, server: Program, client: Program, port: int, folder: Path, place: Path) -> None:
        """Keep all of it."""
        self.name = f"express-pouchdb {node.version(place, 'express-pouchdb')}"
        self._server, self._client, self._port, self._folder = server, client, port, folder
        self._number = 0
        self._loaded: dict[str, Any] = {}
        self._some_id = ""

    def load(self, rows: Sequence[Contact]) -> None:
        """All rows by its own client."""
        file = self._folder / "rows.ndjson"
        file.write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
        self._loaded = self._client.ask({"load": str(file), "url": self._url(self._port)}, 600)
        self._some_id = rows[0].id

    def first_sync(self) -> float:
        """A new local database."""
        found, place = self._sync(self._port)
        shutil.rmtree(place)
        return float(found["rows"] / found["seconds"])

    def costs(self) -> Costs:
        """All else."""
        rows, pid = self._loaded["rows"], self._server.pid
        before = cpu_seconds([pid])
        with relay(self._port) as between:
            _, local = self._sync(between.port)
        spent = cpu_seconds([pid]) - before
        live = {"live": str(local), "url": self._url(self._port), "id": self._some_id, "rounds": ROUNDS}
        return Costs(
            wire_bytes=between.bytes_down / rows,
            first_sync_ms=1000 * spent * 100_000 / rows,
            device_bytes=_size(local) / rows,
            server_bytes=_size(self._folder / "server") / rows,
            server_megabytes=megabytes(pid),
            ingest=rows / self._loaded["seconds"],
            polls=self._polls(),
            visible_ms=self._client.ask(live)["waits"],
        )

    def _polls(self) -> float:
        since = httpx.get(self._url(self._port)).json()["update_seq"]
        url = f"{self._url(self._port)}/_changes?since={json.dumps(since)}"
        return requests_a_second(url, [Request()], self._folder, "GET")

    def _sync(self, port: int) -> tuple[dict[str, Any], Path]:
        self._number += 1
        place = self._folder / f"client{self._number}"
        found = self._client.ask({"sync": str(place), "url": self._url(port)}, 600)
        assert found["rows"] == self._loaded["rows"], found
        return found, place

    def _url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}/contacts"


@contextmanager
def pouchdb(rows: Sequence[Contact], folder: Path) -> Iterator[PouchDB]:
    """Install, start, load."""
    place, port = node.install(PROJECT), free_port()
    server_folder = folder / "server"
    server_folder.mkdir(parents=True)
    serve = ["node", str(place / "server.mjs"), str(port), str(server_folder)]
    with program(serve, folder / "server.log", place) as server:
        server.answer()
        with program(["node", str(place / "client.mjs")], folder / "client.log", place) as client:
            running = PouchDB(server, client, port, folder, place)
            running.load(rows)
            yield running


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
