"""The client of a request, once its body is read: whether it is still there. Nothing is done for one that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Client:
    """Cost: none until it is asked for. Source: the ASGI specification, HTTP, "Disconnect"."""

    __slots__ = ("_disconnect", "_receive")

    def __init__(self, receive: Receive) -> None:
        """`receive` gives nothing any more but that the client has gone."""
        self._receive = receive
        self._disconnect: asyncio.Future[Message] | None = None

    @property
    def is_gone(self) -> bool:
        """It has gone, as far as is known."""
        return self._gone().done()

    async def wait(self, waiting: Coroutine[Any, Any, bool]) -> bool:
        """What the wait comes to; False where the client goes away before."""
        wait = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait((wait, self._gone()), return_when=asyncio.FIRST_COMPLETED)
            return wait.done() and wait.result()
        finally:
            wait.cancel()

    async def take(self, parts: AsyncGenerator[bytes], send: Send) -> None:
        """Send the parts of a body. Once the client has gone the rest is not even made: the server would drop it."""
        async with aclosing(parts):
            async for part in parts:
                if self.is_gone:
                    return
                await send({"type": "http.response.body", "body": part, "more_body": True})

    def leave(self) -> None:
        """The request is answered."""
        if self._disconnect is not None:
            self._disconnect.cancel()

    def _gone(self) -> asyncio.Future[Message]:
        if self._disconnect is None:
            self._disconnect = asyncio.ensure_future(self._receive())
        return self._disconnect
