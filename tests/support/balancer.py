"""A layer-4 load balancer as small as one can be: each connection to the next server that says it is ready."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

LOOK_SECONDS = 0.1


class Balancer:
    """Passes bytes; knows nothing of what they are."""

    def __init__(self, ports: list[int], is_ready: Callable[[int], bool]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._ports, self._is_ready, self._turn = ports, is_ready, 0
        self.ready: set[int] = set()
        self.served = dict.fromkeys(ports, 0)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._look, self._accept)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _look(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.ready = {port for port in self._ports if self._is_ready(port)}

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        for _ in self._ports:
            self._turn += 1
            port = self._ports[self._turn % len(self._ports)]
            if port not in self.ready:
                continue
            try:
                server = socket.create_connection(("127.0.0.1", port), timeout=2)
            except OSError:
                continue
            server.settimeout(None)
            self.served[port] += 1
            back = threading.Thread(target=_pass, args=(server, client), daemon=True)
            back.start()
            _pass(client, server)
            back.join()
            server.close()
            break
        client.close()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
