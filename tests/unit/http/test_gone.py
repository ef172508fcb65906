"""A client that goes away, while it waits or while its answer is sent: nothing is done for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from granian.constants import Interfaces
from granian.server.embed import Server

from satchel.http.client import Client
from tests.support.free_ports import free_port
from tests.support.serving import eventually_serves

PART_BYTES = 100_000


async def _never() -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def test_who_goes_away_waits_no_longer() -> None:
    has_ended = asyncio.Event()

    async def wait() -> bool:
        try:
            await asyncio.Event().wait()
        finally:
            has_ended.set()
        return True

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    client = Client(gone)
    assert not await asyncio.wait_for(client.wait(wait()), 5)
    await asyncio.wait_for(has_ended.wait(), 5)
    assert client.is_gone


async def test_who_stays_hears_what_comes() -> None:
    async def news() -> bool:
        return True

    client = Client(_never)
    assert await asyncio.wait_for(client.wait(news()), 5)
    assert await asyncio.wait_for(client.wait(news()), 5)
    assert not client.is_gone
    client.leave()


async def test_no_more_is_made_for_who_goes_away_in_the_middle() -> None:
    has_ended = asyncio.Event()

    async def parts() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield bytes(PART_BYTES)
        finally:
            has_ended.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await Client(receive).take(parts(), send)

    port = free_port()
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, log_enabled=False)
    serving = asyncio.ensure_future(server.serve())
    await asyncio.wait_for(eventually_serves(port), 20)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readexactly(10 * PART_BYTES)
    assert not has_ended.is_set()
    writer.transport.abort()
    await asyncio.wait_for(has_ended.wait(), 10)
    server.stop()  # type: ignore[no-untyped-call]
    await asyncio.wait([serving], timeout=5)
