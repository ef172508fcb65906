"""A proxy before a service, whose connections break: before a request is passed on, or after it was executed."""

from __future__ import annotations

import random
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit, urlunsplit

TIMEOUT_SECONDS = 30.0
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: closing resets the connection."""


@dataclass(frozen=True)
class Faults:
    """What goes wrong, as probabilities of each request."""

    drop: float = 0.0
    """Cut off before it is passed on."""
    lose: float = 0.0
    """Passed on; its answer is cut off, at its beginning or in the middle. Of reads, a quarter as often."""
    delay_seconds: float = 0.0
    """Answers come so much later, at most."""


class BreakingProxy:
    """A running proxy; `url` leads to the service through it."""

    def __init__(self, service: str, server: _Server) -> None:
        self._server = server
        port = server.server_address[1]
        self.url = urlunsplit(urlsplit(service)._replace(netloc=f"127.0.0.1:{port}"))

    def faults(self, **switches: float) -> None:
        """Set fault switches; the others stay."""
        self._server.faults = replace(self._server.faults, **switches)

    def calm(self) -> None:
        """From now on everything is passed on."""
        self._server.faults = Faults()

    @property
    def lost(self) -> int:
        """How many answers to writes were cut off."""
        return self._server.lost

    @property
    def writes_under_way(self) -> int:
        """How many writes are not answered just now."""
        return self._server.writes_under_way


@contextmanager
def breaking_proxy(service: str, seed: int) -> Iterator[BreakingProxy]:
    """A proxy before the service at a URL; it passes everything on until faults are set."""
    parts = urlsplit(service)
    with _Server((parts.hostname or "", parts.port or 80), random.Random(seed)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield BreakingProxy(service, server)
        finally:
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, service: tuple[str, int], r: random.Random) -> None:
        self.service, self.r, self.faults = service, r, Faults()
        self.lost = self.writes_under_way = 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that the other side broke are what this is about."""


class _Handler(socketserver.StreamRequestHandler):
    """One connection, of one request: the service is asked to close it behind the answer."""

    server: _Server
    timeout = TIMEOUT_SECONDS

    def handle(self) -> None:
        request = self._request()
        if not request:
            return
        is_write = not request.startswith(b"GET ")
        self._count(writes_under_way=is_write)
        try:
            self._answer(request, is_write=is_write)
        finally:
            self._count(writes_under_way=-is_write)

    def _answer(self, request: bytes, *, is_write: bool) -> None:
        faults, r = self.server.faults, self.server.r
        if r.random() < faults.drop:
            self._cut()
            return
        answer = self._ask(request)
        time.sleep(r.random() * faults.delay_seconds)
        if r.random() < faults.lose * (1 if is_write else 0.25):
            self._count(lost=is_write)
            self.wfile.write(answer[: r.choice([0, r.randrange(len(answer) or 1)])])
            self._cut()
            return
        self.wfile.write(answer)

    def _count(self, *, lost: int = 0, writes_under_way: int = 0) -> None:
        with self.server.lock:
            self.server.lost += lost
            self.server.writes_under_way += writes_under_way

    def _request(self) -> bytes:
        """A whole request, its body as long as it says; empty: none came."""
        head, length = [self.rfile.readline()], 0
        while (line := self.rfile.readline()) not in {b"\r\n", b""}:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            if name.lower() != b"connection":
                head.append(line)
        if not head[0] or not line:
            return b""
        body = self.rfile.read(length)
        return b"".join([*head, b"connection: close\r\n\r\n", body]) if len(body) == length else b""

    def _ask(self, request: bytes) -> bytes:
        """What the service answers."""
        with socket.create_connection(self.server.service, timeout=TIMEOUT_SECONDS) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def _cut(self) -> None:
        """End the connection, in one of the two ways there are."""
        if self.server.r.random() < 0.5:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.connection.close()
