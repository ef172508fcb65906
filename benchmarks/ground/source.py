"""The contacts as an OData v4 service in a process of its own: pages, delta links, keys, single rows, PATCH.

`python -m benchmarks.ground.source --rows N` prints one JSON line when it is ready and serves until it is ended. Rows
are kept as the bytes they are sent as, so that the source is not what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server

from benchmarks.data import contacts
from tests.support.processes import free_port
from tests.support.serving import eventually_serves

_EDM = {
    "id": "Edm.Guid", "account": "Edm.Guid", "statecode": "Edm.Int32", "credit": "Edm.Double", "ver": "Edm.Int64",
    "modified": "Edm.DateTimeOffset", "optout": "Edm.Boolean",
}  # fmt: skip
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PAGE = re.compile(rb"odata\.maxpagesize=(\d+)")
Answer = tuple[int, bytes, list[tuple[bytes, bytes]]]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def metadata(columns: Iterable[str]) -> bytes:
    """The service's `$metadata`. Account and owner are lookups: a device makes an index on each."""
    properties = "".join(
        f'<Property Name="{name}" Type="{_EDM.get(name, "Edm.String")}" Nullable="{str(name != "id").lower()}"/>'
        for name in columns
    )

    def lookup(name: str, target: str) -> str:
        constraint = f'<ReferentialConstraint Property="{name}" ReferencedProperty="id"/>'
        return f'<NavigationProperty Name="of_{name}" Type="bench.{target}">{constraint}</NavigationProperty>'

    def entity(name: str, inside: str) -> str:
        return f'<EntityType Name="{name}"><Key><PropertyRef Name="id"/></Key>{inside}</EntityType>'

    types = entity("Account", '<Property Name="id" Type="Edm.Guid" Nullable="false"/>')
    types += entity("Owner", '<Property Name="id" Type="Edm.String" Nullable="false"/>')
    types += entity("Contact", properties + lookup("account", "Account") + lookup("owner", "Owner"))
    bindings = "".join(
        f'<NavigationPropertyBinding Path="of_{name}" Target="{target}"/>'
        for name, target in (("account", "accounts"), ("owner", "owners"))
    )
    sets = '<EntitySet Name="accounts" EntityType="bench.Account"/><EntitySet Name="owners" EntityType="bench.Owner"/>'
    sets += f'<EntitySet Name="contacts" EntityType="bench.Contact">{bindings}</EntitySet>'
    return (
        '<?xml version="1.0"?><edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">'
        '<edmx:DataServices><Schema Namespace="bench" xmlns="http://docs.oasis-open.org/odata/ns/edm">'
        f'{types}<EntityContainer Name="Container">{sets}</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>'
    ).encode()


class ContactSource:
    """All rows in memory, and a log of which changed."""

    def __init__(self, rows: int) -> None:
        """Make the rows."""
        self._values = [msgspec.to_builtins(contact) for contact in contacts(rows)]
        self._rows = [msgspec.json.encode(row) for row in self._values]
        self._place = {row["id"]: at for at, row in enumerate(self._values)}
        self._keys = sorted(self._place)
        self._log: list[int] = []
        self._first_read: float | None = None
        self._columns = list(self._values[0])
        self.base = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, content, headers = self._answer(scope, body)
        headers = [(b"content-type", b"application/json"), (b"odata-version", b"4.0"), *headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _answer(self, scope: Scope, body: bytes) -> Answer:
        path, options = scope["path"].strip("/"), parse_qs(scope["query_string"].decode())
        prefer = b",".join(value for name, value in scope["headers"] if name == b"prefer")
        if path == "contacts":
            return self._read(options, prefer)
        if path.startswith("contacts("):
            self._change(_GUID.findall(path)[0], msgspec.json.decode(body))
            return 204, b"", []
        if path == "change":
            return self._change_many(options)
        if path == "forget-first-read":
            self._first_read = None
            return 204, b"", []
        if path == "first-read":
            return 200, msgspec.json.encode(self._first_read), []
        if path == "$metadata":
            return 200, metadata(self._columns), [(b"content-type", b"application/xml")]
        if path in {"accounts", "owners"}:
            return self._page([], "", [])
        sets = [{"name": name, "kind": "EntitySet", "url": name} for name in ("contacts", "accounts", "owners")]
        return 200, msgspec.json.encode({"@odata.context": f"{self.base}/$metadata", "value": sets}), []

    def _read(self, options: dict[str, list[str]], prefer: bytes) -> Answer:
        found = _PAGE.search(prefer)
        size = int(options.get("$top", [found[1].decode() if found else "5000"])[0])
        condition = options.get("$filter", [""])[0]
        if "$deltatoken" in options:
            changed = dict.fromkeys(self._log[int(options["$deltatoken"][0]) :])
            return self._page([self._rows[at] for at in changed], self._delta_link(), [])
        if "$orderby" in options:
            return self._by_key(condition, size)
        if condition:
            wanted = [self._place[key] for key in _GUID.findall(condition) if key in self._place]
            return self._page([self._rows[at] for at in wanted], "", [])
        return self._by_position(options, size, is_tracked=b"track-changes" in prefer)

    def _by_position(self, options: dict[str, list[str]], size: int, *, is_tracked: bool) -> Answer:
        start = int(options.get("$skiptoken", ["0"])[0])
        if self._first_read is None and size > 1:
            self._first_read = time.monotonic()
        end = start + size
        link = f'"@odata.nextLink":"{self.base}/contacts?$skiptoken={end}"' if end < len(self._rows) else ""
        headers = [(b"preference-applied", b"odata.track-changes")] if is_tracked else []
        return self._page(self._rows[start:end], link or self._delta_link(), headers)

    def _by_key(self, condition: str, size: int) -> Answer:
        after = _GUID.findall(condition)
        start = bisect.bisect_right(self._keys, after[0]) if after else 0
        return self._page([f'{{"id":"{key}"}}'.encode() for key in self._keys[start : start + size]], "", [])

    def _delta_link(self) -> str:
        return f'"@odata.deltaLink":"{self.base}/contacts?$deltatoken={len(self._log)}"'

    def _page(self, rows: list[bytes], link: str, headers: list[tuple[bytes, bytes]]) -> Answer:
        context = f'{{"@odata.context":"{self.base}/$metadata#contacts"'.encode()
        tail = b"," + link.encode() if link else b""
        return 200, context + tail + b',"value":[' + b",".join(rows) + b"]}", headers

    def _change(self, key: str, values: dict[str, Any]) -> None:
        at = self._place[key]
        self._values[at].update(values)
        self._rows[at] = msgspec.json.encode(self._values[at])
        self._log.append(at)

    def _change_many(self, options: dict[str, list[str]]) -> Answer:
        """Change every n-th row."""
        step, mark = int(options["every"][0]), options["mark"][0]
        for key in self._keys[::step]:
            self._change(key, {"jobtitle": mark})
        return 200, msgspec.json.encode(len(self._keys[::step])), []


async def serve(app: ContactSource, port: int, rows: int) -> None:
    """Serve until told to end."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app.base = f"http://127.0.0.1:{port}"
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, log_enabled=False)
    serving = asyncio.ensure_future(server.serve())
    await eventually_serves(port)
    sys.stdout.write(msgspec.json.encode({"url": app.base, "rows": rows}).decode() + "\n")
    sys.stdout.flush()
    await stop.wait()
    server.stop()  # type: ignore[no-untyped-call]
    await serving


def main() -> int:
    """Make the rows and serve them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--port", type=int, default=0)
    chosen = parser.parse_args()
    asyncio.run(serve(ContactSource(chosen.rows), chosen.port or free_port(), chosen.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
