"""The sample organization as an ASGI application: bodies, sign-in, limits, faults, headers."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from satchel.sandbox.data.store import Store
from satchel.sandbox.faults import Faults
from satchel.sandbox.odata.answers import API, Answer, ODataError, Request, parse_path, parse_query
from satchel.sandbox.rows.reading import Reader
from satchel.sandbox.rows.security import Caller
from satchel.sandbox.rows.writing import Writer
from satchel.sandbox.web.control import Control
from satchel.sandbox.web.limits import Limits
from satchel.sandbox.web.service import Service
from satchel.sandbox.web.tokens import Tokens

MAX_BODY_BYTES = 64 * 1024 * 1024
CONTROL = "/sandbox/"
_GZIP_FROM_BYTES = 1400
log = structlog.get_logger()

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Fields = dict[str, str]


class Sandbox:
    """One organization, served."""

    def __init__(
        self,
        store: Store,
        application: str,
        *,
        client_id: str,
        client_secret: str,
        delta_expiry_seconds: float,
        limits: Limits,
    ) -> None:
        """`application` is the application user's id."""
        self.faults = Faults()
        self._limits = limits
        self._tokens = Tokens(client_id, client_secret)
        writer = Writer(store)
        self._service = Service(store, application, Reader(store, self.faults, delta_expiry_seconds), writer)
        self._control = Control(store, writer, self.faults, Caller(application))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await _body(receive)
        try:
            answer = await self._answer(scope, headers, body)
        except ODataError as error:
            answer = error.answer()
        except Exception:
            log.exception("request failed", path=scope["path"])
            answer = ODataError(500, "0x80040216", "An unexpected error occurred.").answer()
        is_api = scope["path"].startswith(API)
        if is_api and scope["method"] != "GET" and self.faults.drops_after:
            await _break_off(send)
        await self._send(send, answer, headers, is_api=is_api)

    async def _answer(self, scope: Scope, headers: Fields, body: bytes | None) -> Answer:
        path = scope["path"]
        if body is None:
            raise ODataError(413, "0x80060888", "The request is too large.")
        if self._tokens.is_endpoint(path):
            return self._tokens.answer(scope["method"], body)
        self._tokens.require(headers.get("authorization", ""))
        if path.startswith(API):
            return await self._limited(_request(scope, headers, body, API))
        if path.startswith(CONTROL):
            return self._control.answer(_request(scope, headers, body, CONTROL))
        raise ODataError(404, "0x8006088a", f"Resource not found for the segment '{path[:100]}'.")

    async def _limited(self, request: Request) -> Answer:
        """A request of the Web API, which may be slowed, refused, or fail on demand."""
        with self._limits.counted() as left:
            await asyncio.sleep(self.faults.latency_seconds)
            self.faults.roll()
            answer = self._service.execute(request)
        answer.headers = answer.headers | left
        return answer

    async def _send(self, send: Send, answer: Answer, headers: Fields, *, is_api: bool) -> None:
        body = answer.body
        fields = ({"odata-version": "4.0", "cache-control": "no-cache"} if is_api else {}) | answer.headers
        if len(body) > _GZIP_FROM_BYTES and "gzip" in headers.get("accept-encoding", ""):
            body = await asyncio.to_thread(zlib.compress, body, 1, 31)
            fields |= {"content-encoding": "gzip", "vary": "Accept-Encoding"}
        if answer.status not in {204, 304}:
            fields["content-length"] = str(len(body))
        listed = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": listed})
        if is_api and len(body) > 1 and self.faults.drops:
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            raise ConnectionResetError("broken off on demand")
        await send({"type": "http.response.body", "body": body, "more_body": False})


async def _break_off(send: Send) -> None:
    """Promise an answer, and close the connection. Errors: ConnectionResetError."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})
    raise ConnectionResetError("broken off on demand")


def _request(scope: Scope, headers: Fields, body: bytes, area: str) -> Request:
    host = headers.get("host") or ":".join(str(part) for part in scope["server"])
    return Request(
        method=scope["method"],
        path=parse_path(scope["path"].removeprefix(area)).rstrip("/"),
        query=parse_query(scope["query_string"].decode("latin-1")),
        headers=headers,
        body=body,
        base=f"{scope['scheme']}://{host}",
    )


async def _body(receive: Receive) -> bytes | None:
    """The request's body; None where it is too large. Errors: ConnectionResetError where it is not all there."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":  # whoever sent it may have been killed in its middle
            raise ConnectionResetError("the request broke off")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks) if size <= MAX_BODY_BYTES else None
