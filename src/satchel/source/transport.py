"""One request to a source, repeated until it is answered or the patience is used up.

Nothing here knows OData or tokens; `client` and `tokens` send through it.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
import structlog
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from satchel.errors import (
    DeltaLinkExpired,
    RequestRefused,
    RetryLater,
    SatchelError,
    SourceBusy,
    SourceMisconfigured,
    SourceUnreachable,
)
from satchel.source.answers import Answer, error_of
from satchel.source.connection import Connection
from satchel.source.throttle import Limiter, Pace

MAX_ANSWER_BYTES = 256 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
MAX_TRIES = 8
CONNECT_TIMEOUT_SECONDS = 10.0

_KEYS = re.compile(r"\([^)]*\)?")
_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("satchel")
_log = structlog.get_logger(__name__)

SinkT = TypeVar("SinkT", covariant=True)
BodyT = TypeVar("BodyT")


class Sink(Protocol[SinkT]):
    """Takes the body of a good answer chunk by chunk and makes something of it."""

    def feed(self, chunk: bytes) -> None:
        """Take a piece."""
        ...

    def close(self) -> SinkT:
        """All pieces are there."""
        ...


class Collect:
    """A sink that keeps the bytes, up to a bound."""

    def __init__(self, max_bytes: int = MAX_ANSWER_BYTES, *, is_cut: bool = False) -> None:
        """Take at most `max_bytes`; what is beyond is left out where `is_cut`, else an error."""
        self._chunks: list[bytes] = []
        self._left = max_bytes
        self._is_cut = is_cut

    def feed(self, chunk: bytes) -> None:
        """Errors: RequestRefused beyond the bound."""
        if self._is_cut:
            chunk = chunk[: self._left]
        self._left -= len(chunk)
        if self._left < 0:
            raise RequestRefused("The source's answer is larger than Satchel takes.", hint="Use smaller pages.")
        self._chunks.append(chunk)

    def close(self) -> bytes:
        """The whole body."""
        return b"".join(self._chunks)


class Request(msgspec.Struct, Generic[BodyT], frozen=True, kw_only=True):
    """What to send, and where the body of the answer goes; a repeated request gets a new sink."""

    url: str
    sink: Callable[[], Sink[BodyT]]
    method: str = "GET"
    headers: Mapping[str, str] = {}
    content: bytes | None = None
    is_repeatable: bool = True
    """False: sent again only when the source certainly did not execute it (429)."""


class Transport:
    """The connections to one source, with its limiter."""

    def __init__(self, connection: Connection, pace: Pace) -> None:
        """Open nothing yet. Errors: SourceMisconfigured for an unusable certificate file."""
        self._pace = pace
        self.skew_seconds: float | None = None
        """The source's clock against ours, by its last answer."""
        self._patience_seconds = connection.patience_seconds
        self.limiter = Limiter(pace, start=connection.start_concurrency, maximum=connection.max_concurrency)
        self._http = httpx.AsyncClient(
            http2=True,
            verify=_trust(connection.ca_file),
            timeout=httpx.Timeout(connection.timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=connection.max_concurrency),
            headers={"user-agent": "satchel"},
        )

    async def send(self, request: Request[BodyT]) -> Answer[BodyT]:
        """Send until it is answered. Errors: whatever `error_of` makes of the last answer; SourceUnreachable."""
        give_up_at: float | None = None
        for attempt in range(MAX_TRIES):
            try:
                return await self._send_once(request)
            except RetryLater as error:
                wait_seconds = self._wait_seconds(error, attempt)
                now = self._pace.monotonic()
                give_up_at = now + self._patience_seconds if give_up_at is None else give_up_at
                may_repeat = request.is_repeatable or isinstance(error, SourceBusy)
                if not may_repeat or now + wait_seconds > give_up_at or attempt == MAX_TRIES - 1:
                    error.wait_seconds = error.wait_seconds or wait_seconds
                    raise
                _log.info("source asked again", attempt=attempt + 1, wait_seconds=wait_seconds, code=error.code)
                await self._pace.sleep(wait_seconds)
        raise SourceUnreachable

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _send_once(self, request: Request[BodyT]) -> Answer[BodyT]:
        async with self.limiter.slot() as generation:
            try:
                with _span(request) as span:
                    answer = await self._exchange(request, span)
            except httpx.InvalidURL as error:
                raise SourceMisconfigured("The source's address is not a URL.") from error
            except httpx.RequestError as error:
                raise unreachable(error, request.url) from error
            except SourceBusy as error:
                self.limiter.pushed_back(generation, min(error.wait_seconds, self._patience_seconds))
                raise
            self.limiter.succeeded()
            return answer

    async def _exchange(self, request: Request[BodyT], span: trace.Span) -> Answer[BodyT]:
        headers = dict(request.headers)
        _propagator.inject(headers)
        async with self._http.stream(request.method, request.url, headers=headers, content=request.content) as response:
            span.set_attribute("status", response.status_code)
            self._note_clock(response.headers.get("date"))
            is_good = response.is_success or response.status_code == httpx.codes.NOT_MODIFIED
            sink: Sink[BodyT] | Collect = request.sink() if is_good else Collect(MAX_ERROR_BYTES, is_cut=True)
            async for chunk in response.aiter_bytes():
                sink.feed(chunk)
            body = sink.close()
            if isinstance(body, bytes) and not is_good:
                raise _error(response, body, self._pace)
            return Answer(request.url, response.status_code, response.headers, body)  # type: ignore[arg-type]

    def _note_clock(self, date: str | None) -> None:
        with suppress(TypeError, ValueError):
            self.skew_seconds = (parsedate_to_datetime(date or "") - self._pace.now()).total_seconds()

    def _wait_seconds(self, error: RetryLater, attempt: int) -> float:
        asked = error.wait_seconds if isinstance(error, SourceBusy) else 0.0
        return asked or self._pace.backoff_seconds(attempt)


@contextmanager
def _span(request: Request[BodyT]) -> Iterator[trace.Span]:
    """A span that tells where a request went, without query and keys: those may hold what users wrote."""
    parts = urlsplit(request.url)
    attributes = {"method": request.method, "host": parts.hostname or "", "path": _KEYS.sub("(...)", parts.path)[:200]}
    with _tracer.start_as_current_span(
        "source request", None, trace.SpanKind.CLIENT, attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except Exception as error:
            words = f"{error.message} [{error.code}]" if isinstance(error, SatchelError) else type(error).__name__
            span.set_status(trace.Status(trace.StatusCode.ERROR, words))
            raise


def unreachable(error: httpx.RequestError, url: str) -> SatchelError:
    """What a failure below HTTP means: a certificate that is not trusted stays so, all else may pass."""
    host = urlsplit(url).hostname
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SourceMisconfigured(
                f"The certificate of {host} is not trusted: {cause.verify_message}.",
                hint="Check the address, or name the file of your certificate authority (ca_file).",
            )
        if isinstance(cause, ssl.SSLError):
            return SourceUnreachable(
                f"No TLS connection to {host}: {cause.reason or 'broken off'}.", hint="Is it an https address?"
            )
        if isinstance(cause, socket.gaierror):
            return SourceUnreachable(f"There is no host named {host}.", is_name_unknown=True)
    if isinstance(error, httpx.TimeoutException):
        return SourceUnreachable(f"{host} does not answer in time.")
    if isinstance(error, httpx.ConnectError):
        return SourceUnreachable(f"No connection to {host}.", hint="Is the address right, and the source running?")
    return SourceUnreachable(f"The connection to {host} broke off.")


def _error(response: httpx.Response, body: bytes, pace: Pace) -> SatchelError:
    error = error_of(response.status_code, response.headers, body, now=pace.now())
    if isinstance(error, DeltaLinkExpired):
        _log.info("delta link expired", status=response.status_code)
    return error or RequestRefused("The source's answer makes no sense.", status=response.status_code)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _trust(ca_file: str | None) -> ssl.SSLContext:
    """The system's certificates, those of the Python packages, and the ones given."""
    if not ca_file:
        return _common_trust()
    context = _new_trust()
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SourceMisconfigured(f"The certificate file {ca_file} cannot be used.") from error
    return context


@cache
def _common_trust() -> ssl.SSLContext:
    """One for all sources of a process: each takes a megabyte, and 20 ms to make."""
    return _new_trust()


def _new_trust() -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context
