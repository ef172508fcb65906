"""`POST /v1/orgs/{org}/sync`: a bare ASGI application in front of the framework's, which gets everything else.

Most requests find nothing new and are answered from memory; there the framework would cost more than the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from urllib.parse import parse_qs

import msgspec
import zstandard

from satchel.errors import CursorExpired, Denied, RequestInvalid, RetryLater, SatchelError
from satchel.http.client import Client, Message, Receive, Send
from satchel.http.problems import headers_of, told
from satchel.http.sync import SyncServing
from satchel.model.ids import OpId
from satchel.protocol import codec
from satchel.protocol.compression import SealedFrame, choose_encoding, compressor, unsealed
from satchel.protocol.images import IMAGE_MEDIA_TYPE
from satchel.protocol.lease import LEASE_HEADER, format_lease, with_lease
from satchel.protocol.messages import MAX_WAIT_SECONDS, MEDIA_TYPE, PROBLEM_MEDIA_TYPE, End, Problem, SyncRequest
from satchel.provisioning.devices import Device
from satchel.sync.cursor import CursorSeal, CursorState
from satchel.sync.download import download
from satchel.sync.images import ReadFrame
from satchel.sync.shared import SharedChanges, SharedLines, news
from satchel.sync.step import Caller
from satchel.telemetry.request import enter_request

DRAINING_WAIT_SECONDS = 0.3
Application = Callable[..., Awaitable[None]]

_BEFORE, _BEHIND = "/v1/orgs/", "/sync"
_DECODE = msgspec.json.Decoder(SyncRequest).decode
_FOLLOWED = frozenset({"zstd", "identity"})
"""Encodings of which one answer may have several bodies, one after another."""
_TOO_LARGE = Problem(title="The request is too large.", status=413, code=RequestInvalid.code)
_NO_SUCH_METHOD = Problem(title="Method Not Allowed", status=405, code=RequestInvalid.code)


class Poll(msgspec.Struct, frozen=True):
    """Who asks, from where on, and how long they wait."""

    device: Device
    authorization: str
    model: str | None
    encoding: str
    seal: CursorSeal
    deadline: float
    """When its wait is over, on the loop's clock."""
    is_following: bool
    client: Client


class Answer(msgspec.Struct, frozen=True):
    """What goes back: a body, or batches of lines that become one."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    batches: AsyncGenerator[bytes] | None = None


class Polls:
    """The application."""

    def __init__(self, serving: SyncServing, max_request_bytes: int, others: Application) -> None:
        """`others` gets what is no sync request."""
        self._serving = serving
        self._max_request_bytes = max_request_bytes
        self._others = others
        self._shared = SharedChanges(serving.lease)
        self._lease_header = {LEASE_HEADER: format_lease(serving.lease)}
        self._end = zstandard.ZstdCompressor(level=1)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        organization = _organization(scope)
        if organization is None:
            await self._others(scope, receive, send)
            return
        client = Client(receive)
        try:
            answer = await self._answer(scope, organization, receive, client)
        except Exception as error:
            answer = _refusal(told(error, scope["path"]))
        try:
            await _send(answer, send, client)
        finally:
            client.leave()

    async def _answer(self, scope: Message, organization: str, receive: Receive, client: Client) -> Answer:
        if scope["method"] != "POST":
            return _refusal(_NO_SUCH_METHOD, allow="POST")
        headers: dict[bytes, bytes] = dict(scope["headers"])
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        device = await self._serving.auth.device(authorization, organization)
        body = await _body(receive, self._max_request_bytes)
        if body is None:
            return _refusal(_TOO_LARGE, connection="close")  # the body is not read to its end
        wait_seconds, is_following = _asked(scope["query_string"])
        data = _decoded(body)
        seal = CursorSeal(self._serving.cursor_keys.all, organization, device.id)
        encoding = choose_encoding(headers.get(b"accept-encoding", b"").decode("latin-1"))
        deadline = asyncio.get_running_loop().time() + wait_seconds
        poll = Poll(device, authorization, data.model, encoding, seal, deadline, is_following, client)
        state = _open(seal, data.cursor)
        since = OpId(-1)
        if state is not None:
            found = await self._wait(poll, state)
            if found is None:
                return Answer(204, self._lease_header)
            since = found
        enter_request()
        if state is not None and since >= 0:
            shared = await self._shared_answer(poll, state, since)
            if shared is not None:
                return self._told(poll, *shared)
        takes_images = IMAGE_MEDIA_TYPE in headers.get(b"accept", b"").decode("latin-1")
        read_frame = self._serving.images.reader(encoding) if takes_images else None
        lines = await self._first_batch(device, authorization, state, data.model, seal, read_frame)
        media_type = IMAGE_MEDIA_TYPE if takes_images else MEDIA_TYPE
        batches = _compressed(lines, encoding, self._serving.compression_level)
        return Answer(200, _headers(encoding, media_type), batches=batches)

    async def _wait(self, poll: Poll, state: CursorState) -> OpId | None:
        """Wait for something new: as `news`. A device that is blocked meanwhile is refused; for one that is gone
        meanwhile nothing is read any more."""
        heads, device = self._serving.served.heads, poll.device
        caller = Caller(device.user_id, device.id)
        loop = asyncio.get_running_loop()
        while True:
            standing = heads.standing(device.organization)
            if standing is None:
                await self._serving.served.head(device.organization)
                continue
            if not standing.is_settled:
                await self._serving.served.settle(device.organization)
            since = news(standing, state, poll.model, caller)
            if since is not None:
                return since
            remaining = poll.deadline - loop.time()
            if heads.is_draining:  # who comes back at once finds another server soon
                await asyncio.sleep(min(max(remaining, 0.0), DRAINING_WAIT_SECONDS))
                return None
            if remaining <= 0 or not await poll.client.wait(standing.wait(state, caller, remaining)):
                return None
            await self._serving.auth.device(poll.authorization, device.organization)

    async def _shared_answer(self, poll: Poll, state: CursorState, since: OpId) -> tuple[CursorState, bytes] | None:
        """A change that others get as well: the state behind it, and its lines as they go out."""
        device = poll.device
        served = await self._serving.served.get(device.organization)
        standing = self._serving.served.heads.standing(device.organization)
        if standing is None:
            return None
        found = await self._shared.answer(served, standing, state, Caller(device.user_id, device.id), since)
        if found is None:
            return None
        now, lines = found
        return now, self._joined(lines, End(now.checkpoint, poll.seal.seal(now)), poll.encoding)

    def _told(self, poll: Poll, state: CursorState, body: bytes) -> Answer:
        headers = _headers(poll.encoding)
        if poll.is_following and poll.encoding in _FOLLOWED:
            return Answer(200, headers, batches=self._following(poll, state, body))
        return Answer(200, headers, body)

    async def _following(self, poll: Poll, state: CursorState, body: bytes) -> AsyncGenerator[bytes]:
        """One change after the other, while the wait lasts. What needs a look at the database of its own, or a refusal,
        ends the answer: the device comes again, and is told."""
        shared: tuple[CursorState, bytes] | None = (state, body)
        while shared is not None:
            state, body = shared
            yield body
            try:
                since = await self._wait(poll, state)
                shared = await self._shared_answer(poll, state, since) if since is not None and since >= 0 else None
            except SatchelError:
                return

    def _joined(self, shared: SharedLines, end: End, encoding: str) -> bytes:
        """One body. Frames of zstd follow one another; the shared one is compressed once."""
        last = codec.end_line(end)
        if encoding == "zstd":
            frame = shared.by_encoding.get(encoding)
            if frame is None:
                level = self._serving.compression_level
                frame = shared.by_encoding[encoding] = zstandard.ZstdCompressor(level=level).compress(shared.lines)
            return frame + self._end.compress(last)
        compress = compressor(encoding, self._serving.compression_level)
        return compress.compress(shared.lines + last) + compress.finish()

    async def _first_batch(
        self,
        device: Device,
        authorization: str,
        state: CursorState | None,
        model: str | None,
        seal: CursorSeal,
        read_frame: ReadFrame | None,
    ) -> AsyncIterator[bytes | SealedFrame]:
        """Start the download before the answer begins: what fails here is still a readable refusal. A device that is
        blocked or wiped meanwhile gets no more of it; it comes again, and is told."""
        served = await self._serving.served.get(device.organization)
        caller = Caller(device.user_id, device.id)
        batches = download(
            served.staging,
            served.users,
            caller,
            state,
            model,
            limits=self._serving.limits,
            seal=seal.seal,
            read_frame=read_frame,
        )
        first = await anext(batches)

        async def lines() -> AsyncIterator[bytes | SealedFrame]:
            yield with_lease(first, self._serving.lease) if isinstance(first, bytes) else first
            async for batch in batches:
                if not await self._is_let_in(device, authorization):
                    return
                yield batch

        return lines()

    async def _is_let_in(self, device: Device, authorization: str) -> bool:
        """Cost: none while what is known of devices holds. A control database that does not answer ends no download."""
        try:
            await self._serving.auth.device(authorization, device.organization)
        except Denied:
            return False
        except RetryLater:
            return True
        return True


def _organization(scope: Message) -> str | None:
    """The organization that a sync request names; None where it is another request."""
    if scope["type"] != "http":
        return None
    path: str = scope["path"]
    if not path.startswith(_BEFORE) or not path.endswith(_BEHIND):
        return None
    name = path[len(_BEFORE) : -len(_BEHIND)]
    return name if name and "/" not in name else None


async def _body(receive: Receive, max_bytes: int) -> bytes | None:
    """The whole body; None where it is too large."""
    parts: list[bytes] = []
    size, is_more = 0, True
    while is_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestInvalid("The request broke off.")
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            return None
        parts.append(part)
        is_more = message.get("more_body", False)
    return b"".join(parts)


def _decoded(body: bytes) -> SyncRequest:
    try:
        return _DECODE(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestInvalid(f"The request is not usable: {str(error)[:200]}.") from error


def _asked(query: bytes) -> tuple[float, bool]:
    """How long to wait, and whether the answer goes on after its end."""
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True) if query else {}
    try:
        seconds = float(values.get("wait", ["0"])[-1])
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_WAIT_SECONDS:
        raise RequestInvalid(f"wait is a number of seconds from 0 to {MAX_WAIT_SECONDS}.")
    return seconds, values.get("follow", ["0"])[-1] == "1"


def _open(seal: CursorSeal, token: str | None) -> CursorState | None:
    """The cursor's state. One that is too old to be read becomes a reset, as one of another staging database does."""
    if token is None:
        return None
    try:
        return seal.open(token)
    except CursorExpired:
        return CursorState(epoch="")


async def _compressed(lines: AsyncIterator[bytes | SealedFrame], encoding: str, level: int) -> AsyncGenerator[bytes]:
    """Compress batch by batch, each flushed, so that the device can commit what has arrived.

    A sealed frame of this encoding goes out as it is.
    """
    compress = compressor(encoding, level)
    async for batch in lines:
        if isinstance(batch, SealedFrame) and batch.encoding == encoding:
            yield compress.splice(batch)
            continue
        plain = await asyncio.to_thread(unsealed, batch.content) if isinstance(batch, SealedFrame) else batch
        yield compress.compress(plain) + compress.flush()
    yield compress.finish()


def _headers(encoding: str, media_type: str = MEDIA_TYPE) -> dict[str, str]:
    headers = {"content-type": media_type}
    return headers | {"content-encoding": encoding} if encoding != "identity" else headers


def _refusal(problem: Problem, **more: str) -> Answer:
    headers = {"content-type": PROBLEM_MEDIA_TYPE, **headers_of(problem), **more}
    return Answer(problem.status, headers, msgspec.json.encode(problem))


async def _send(answer: Answer, send: Send, client: Client) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    if answer.batches is None and answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.batches is not None:
        await client.take(answer.batches, send)
    await send({"type": "http.response.body", "body": answer.body})
