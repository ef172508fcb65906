"""Many devices that wait for something new, simulated in one process: a TLS connection and a long poll each.

`python -m benchmarks.ground.crowd` reads one JSON line (`Plan`), connects, says when all wait, and then answers each
line it reads with the answers that came since.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import zstandard

AT_ONCE = 40
WAIT_SECONDS = 55
BUFFER_BYTES = 1 << 16


class Member(msgspec.Struct):
    """One device."""

    token: str
    cursor: str | None = None
    model: str | None = None
    organization: str = ""
    """Where it is another than the plan's."""


class Plan(msgspec.Struct):
    """Who connects where."""

    host: str
    port: int
    authority: str
    """File with the certificate authority."""
    organization: str
    members: list[Member]


class Arrival(msgspec.Struct):
    """An answer that had something new."""

    member: int
    moment: float
    """On the monotonic clock, which all processes of a machine share."""
    size_bytes: int


class Crowd:
    """All of them."""

    def __init__(self, plan: Plan) -> None:
        """Connect nothing yet."""
        self._plan = plan
        self._context = ssl.create_default_context(cafile=plan.authority)
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self.all_wait = asyncio.Event()
        self.arrivals: list[Arrival] = []

    async def live(self, number: int) -> None:
        """One device: first what it lacks, then a poll after the other."""
        member = self._plan.members[number]
        async with self._gate:
            reader, writer = await self._connect()
            while member.cursor is None or await self._poll(reader, writer, number, wait=0):
                if member.cursor is None:
                    await self._poll(reader, writer, number, wait=0)
        self._waiting += 1
        if self._waiting == len(self._plan.members):
            self.arrivals.clear()
            self.all_wait.set()
        while True:
            await self._follow(reader, writer, number)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            self._plan.host, self._plan.port, ssl=self._context, limit=BUFFER_BYTES, server_hostname="localhost"
        )

    async def _poll(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, *, wait: int
    ) -> bool:
        """Ask once; True where there was something new."""
        member = self._plan.members[number]
        writer.write(request(self._plan, member, wait))
        status, headers, body = await read_answer(reader)
        if status == 204:
            return False
        if status != 200:
            raise RuntimeError(f"{status} {body[:300]!r}")
        self.arrivals.append(Arrival(number, time.monotonic(), len(body)))
        take(member, body, headers.get("content-encoding", ""))
        return True

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        """Ask once, and take each change that comes, until the answer ends."""
        member = self._plan.members[number]
        writer.write(request(self._plan, member, WAIT_SECONDS, "&follow=1"))
        status, headers = await read_head(reader)
        if status == 204:
            return
        if status != 200:
            raise RuntimeError(f"{status}")
        text, size_bytes = b"", 0
        decompressor = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
        async for part in body_parts(reader, headers):
            text, size_bytes = text + decompressor.decompress(part), size_bytes + len(part)
            if text.endswith(b"\n") and text.splitlines()[-1].startswith(b'{"end"'):
                self.arrivals.append(Arrival(number, time.monotonic(), size_bytes))
                take(member, text, "identity")
                text, size_bytes = b"", 0


def request(plan: Plan, member: Member, wait: int, more: str = "") -> bytes:
    """A request of the sync endpoint as bytes."""
    body = json.dumps({"cursor": member.cursor, "model": member.model}).encode()
    target = f"/v1/orgs/{member.organization or plan.organization}/sync" + (f"?wait={wait}{more}" if wait else "")
    head = (
        f"POST {target} HTTP/1.1\r\nHost: localhost:{plan.port}\r\nAuthorization: Bearer {member.token}\r\n"
        "Content-Type: application/json\r\nAccept-Encoding: zstd\r\nAccept: */*\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an HTTP/1.1 answer."""
    status, headers = await read_head(reader)
    return status, headers, b"" if status == 204 else b"".join([part async for part in body_parts(reader, headers)])


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers. Source: RFC 9112, section 4."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split(" ")[1]), headers


async def body_parts(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """The body as it comes. Source: RFC 9112, sections 6.3, 7.1."""
    if headers.get("transfer-encoding") != "chunked":
        yield await reader.readexactly(int(headers.get("content-length", "0")))
        return
    while size := int(await reader.readline(), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readline()


def take(member: Member, body: bytes, encoding: str) -> None:
    """Move a device on by an answer."""
    if encoding == "zstd":
        body = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True).read()
    for text in body.splitlines():
        if text.startswith((b'{"begin"', b'{"cursor"', b'{"end"')):
            line = json.loads(text)
            if "begin" in line:
                member.model = line["begin"]["model"]
            member.cursor = line["cursor"] if "cursor" in line else line.get("end", {}).get("cursor", member.cursor)


async def main() -> None:
    """Connect all and answer questions until there are none."""
    loop = asyncio.get_running_loop()
    plan = msgspec.json.decode(await loop.run_in_executor(None, sys.stdin.readline), type=Plan)
    crowd = Crowd(plan)
    lives = [asyncio.ensure_future(crowd.live(number)) for number in range(len(plan.members))]
    waiting = asyncio.ensure_future(crowd.all_wait.wait())
    done, _ = await asyncio.wait([*lives, waiting], return_when=asyncio.FIRST_COMPLETED)
    _raise(done)
    say({"waiting": len(lives)})
    while await loop.run_in_executor(None, sys.stdin.readline):
        _raise([life for life in lives if life.done()])
        say([msgspec.to_builtins(arrival) for arrival in crowd.arrivals])
        crowd.arrivals.clear()


def _raise(done: Sequence[asyncio.Future[Any]] | set[asyncio.Future[Any]]) -> None:
    for one in done:
        one.result()


def say(message: object) -> None:
    """A JSON line to who started us."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
