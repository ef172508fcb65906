"""A server on a real TLS port, for tests of devices."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec

from satchel.device import Device, DeviceKey
from satchel.identity.certificates import ServerCertificate
from satchel.protocol.compression import compressor
from satchel.protocol.enrolment import format_link
from satchel.protocol.messages import EnrollAnswer
from tests.unit.device import lines as l

KEY = DeviceKey.from_passphrase("correct horse battery staple")


class Refusal(msgspec.Struct):
    """An answer with status 403."""

    code: str


class NothingNew(msgspec.Struct):
    """An answer with status 204 that tells an offline lease."""

    lease: str


class FakeNetwork:
    """A server on a real TLS port that answers what a test lays out: one item a request."""

    def __init__(self, certificate: ServerCertificate) -> None:
        self.certificate = certificate
        self.answers: list[Any] = []
        self.requests: list[dict[str, Any]] = []
        self.signed_out: list[int] = []
        """What each sign-out was answered with; 403: erase all."""
        self.sign_out_status = 204
        self.confirmed = 0
        """How often a device said that it is wiped."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def link(self, fingerprint: str | None = None) -> str:
        return format_link(self.url, "contoso", "CODE", fingerprint or self.certificate.ca_fingerprint)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = (await receive()).get("body", b"")
        if scope["path"] == "/v1/ca.pem":
            assert self.certificate.ca_file is not None
            await self._send(send, 200, self.certificate.ca_file.read_bytes())
        elif scope["path"].endswith("/wiped"):
            self.confirmed += 1
            await self._send(send, 204, b"")
        elif scope["path"].endswith("/sign-out"):
            self.signed_out.append(self.sign_out_status)
            refused = {"title": "No.", "status": self.sign_out_status, "code": "E504"}
            await self._send(send, self.sign_out_status, msgspec.json.encode(refused))
        elif scope["path"].endswith("/enroll"):
            answer = EnrollAnswer("contoso", "d1", "u1", "Anna", "token")
            await self._send(send, 200, msgspec.json.encode(answer))
        else:
            self.requests.append(msgspec.json.decode(body))
            answer = self.answers.pop(0)
            if isinstance(answer, Refusal):
                await self._send(send, 403, msgspec.json.encode({"title": "No.", "status": 403, "code": answer.code}))
            elif isinstance(answer, NothingNew):
                await self._send(send, 204, b"", [(b"satchel-offline-lease", answer.lease.encode())])
            elif isinstance(answer, int):
                problem = {"title": "This device is blocked.", "status": answer, "code": "E501"}
                await self._send(send, answer, b"" if answer == 204 else msgspec.json.encode(problem))
            else:
                await self._stream(send, *answer)

    async def _stream(self, send: Any, lines: list[dict[str, Any]], is_broken: bool) -> None:
        compress = compressor("zstd", 3)
        headers = [(b"content-encoding", b"zstd")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        chunk = compress.compress(l.encoded(lines)) + compress.flush()
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if is_broken:
            await asyncio.sleep(0.05)
            raise ConnectionResetError("the network goes away")
        await send({"type": "http.response.body", "body": compress.finish(), "more_body": False})

    async def _send(self, send: Any, status: int, body: bytes, headers: Any = ()) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def first_sync(network: FakeNetwork, device: Device, *rows: list[Any]) -> None:
    network.answers.append(([l.begin(), l.model(), l.put(*rows), l.end("c1", 5)], False))
    device.sync()
