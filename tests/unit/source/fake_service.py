"""A service that answers as a test says, over real HTTP."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from satchel.source import Pace


@dataclass
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    options: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def prefer(self) -> str:
        return self.headers.get("prefer", "")


@dataclass
class Reply:
    """What to answer; a body that is no bytes goes as JSON. `is_dropped`: hang up instead."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    is_dropped: bool = False


class FakeService:
    """Answers by `respond` and keeps what it was asked."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}/"
        self.asked: list[Asked] = []
        self.respond: Callable[[Asked], Reply] = lambda _: Reply(status=404)

    def script(self, *replies: Reply) -> None:
        """Answer with these, one after the other; the last one stays."""
        left = list(replies)
        self.respond = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def handle(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        return self.respond(asked)


@contextmanager
def fake_service(tls: ssl.SSLContext | None = None) -> Iterator[FakeService]:
    """Serve on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    service = FakeService(server.server_port)
    server.service = service  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Hours:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds

    def pace(self) -> Pace:
        return Pace(monotonic=lambda: self.seconds, sleep=self.sleep, chance=lambda: 1.0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # one request a connection: nothing stays open behind a test

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)
        reply = self.server.service.handle(asked)  # type: ignore[attr-defined]
        if reply.is_dropped:
            return
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""
