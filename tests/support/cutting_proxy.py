"""A proxy before a TLS endpoint: it understands nothing, passes bytes on, and cuts a connection where a test says."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TIMEOUT_SECONDS = 30.0
_PIECE_BYTES = 4096


class CuttingProxy(socketserver.ThreadingTCPServer):
    """Counts what goes to the client on each connection, and cuts the first one that comes to `cut_at_bytes`."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        """Before the endpoint at a port of this machine."""
        self.service = ("127.0.0.1", port)
        self.cut_at_bytes: int | None = None
        self.received_bytes: list[int] = []
        """By connection, in the order in which they began."""
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://localhost:{self.server_address[1]}"


@contextmanager
def cutting_proxy(port: int) -> Iterator[CuttingProxy]:
    """A proxy before the endpoint at a port of this machine; it cuts nothing until told to."""
    with CuttingProxy(port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(socketserver.BaseRequestHandler):
    server: CuttingProxy

    def handle(self) -> None:
        number = len(self.server.received_bytes)
        self.server.received_bytes.append(0)
        with socket.create_connection(self.server.service, timeout=TIMEOUT_SECONDS) as service:
            asking = threading.Thread(target=_pass_on, args=(self.request, service), daemon=True)
            asking.start()
            with suppress(OSError):
                self._answer(service, number)
            for each in (service, self.request):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            asking.join()

    def _answer(self, service: socket.socket, number: int) -> None:
        while piece := service.recv(_PIECE_BYTES):
            cut_at = self.server.cut_at_bytes
            left = len(piece) if cut_at is None else cut_at - self.server.received_bytes[number]
            self.request.sendall(piece[:left])
            self.server.received_bytes[number] += min(left, len(piece))
            if left < len(piece):
                self.server.cut_at_bytes = None
                return


def _pass_on(client: socket.socket, service: socket.socket) -> None:
    with suppress(OSError):
        while piece := client.recv(_PIECE_BYTES):
            service.sendall(piece)
        service.shutdown(socket.SHUT_WR)
