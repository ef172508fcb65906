"""Servers of a test's own."""

from __future__ import annotations

import asyncio


async def eventually_serves(port: int) -> None:
    """Return when somebody listens on this port of loopback."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        return
