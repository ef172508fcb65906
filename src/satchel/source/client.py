"""Requests to one OData v4 service: signed in, never to another origin, with OData's headers.

Source: OData Version 4.01 Part 1: Protocol, section 8 (headers), 8.2.8 (preferences).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import msgspec

from satchel.errors import RequestRefused, SourceMisconfigured
from satchel.source.answers import Answer
from satchel.source.connection import Connection
from satchel.source.throttle import Pace
from satchel.source.tokens import Tokens
from satchel.source.transport import Collect, Request, Sink, Transport

BodyT = TypeVar("BodyT")
ShapeT = TypeVar("ShapeT")

# 4.0 and not 4.01, so that control information keeps its `odata.` prefix.
_ODATA_HEADERS = {"accept": "application/json", "odata-version": "4.0", "odata-maxversion": "4.0"}
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Client:
    """One service, with its connections, limiter and token."""

    def __init__(self, connection: Connection, pace: Pace) -> None:
        """Open nothing yet. Errors: SourceMisconfigured."""
        self.root = connection.service_root
        self._origin = _origin(self.root)
        self._static = {**_ODATA_HEADERS, **{name.lower(): value for name, value in connection.headers.items()}}
        self._transport = Transport(connection, pace)
        self._tokens = Tokens(connection, self._transport, pace)

    async def get(self, url: str, *, prefer: Sequence[str] = ()) -> Answer[bytes]:
        """Get a URL of the service, relative to its root or whole."""
        headers = {"prefer": ",".join(prefer)} if prefer else {}
        return await self.send(Request(url=self.absolute(url), sink=Collect, headers=headers))

    async def read(self, url: str, shape: type[ShapeT]) -> ShapeT:
        """Get a URL and decode its JSON. Errors: RequestRefused where the answer has another shape."""
        answer = await self.get(url)
        try:
            return msgspec.json.decode(answer.body, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RequestRefused("The source's answer is not the JSON that was asked for.") from error

    async def stream(self, url: str, sink: Callable[[], Sink[BodyT]], *, accept: str) -> Answer[BodyT]:
        """Get a URL into a sink, without holding the body."""
        return await self.send(Request(url=self.absolute(url), sink=sink, headers={"accept": accept}))

    async def send(self, request: Request[BodyT]) -> Answer[BodyT]:
        """Send a request; a refused token is renewed once. Errors: those of `Transport.send`."""
        token = await self._tokens.current()
        try:
            return await self._transport.send(self._signed(request, token))
        except SourceMisconfigured as error:
            if token is None or error.facts.get("status") != 401:
                raise
            self._tokens.forget(token)
        return await self._transport.send(self._signed(request, await self._tokens.current()))

    def absolute(self, url: str, base: str | None = None) -> str:
        """The whole URL of a link. Errors: RequestRefused for another origin, so that no token goes elsewhere."""
        whole = urljoin(base or self.root, url)
        if _origin(whole) != self._origin:
            raise RequestRefused(
                f"The source's link leads to {urlsplit(whole).hostname}, which is not where the source is.",
                hint="The service or a proxy before it tells a wrong address of itself; correct that or the URL.",
            )
        return whole

    @property
    def skew_seconds(self) -> float | None:
        """The source's clock against ours, by its last answer; None: it told no time."""
        return self._transport.skew_seconds

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    def _signed(self, request: Request[BodyT], token: str | None) -> Request[BodyT]:
        headers: Mapping[str, str] = {**self._static, **request.headers}
        if token is not None:
            headers = {**headers, "authorization": f"Bearer {token}"}
        return msgspec.structs.replace(request, headers=headers)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)
