"""The server that Satchel stands on, with nothing behind it: reads a request's body and answers 204, over TLS.

`python -m benchmarks.server.bare CERTIFICATE KEY` prints one JSON line when it is ready.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from granian.constants import Interfaces
from granian.server.embed import Server

from tests.support.processes import free_port


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """ASGI."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def main() -> None:
    """Serve until ended."""
    port = free_port()
    server = Server(
        app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, ssl_cert=Path(sys.argv[1]),
        ssl_key=Path(sys.argv[2]), log_enabled=False,
    )  # fmt: skip
    serving = asyncio.ensure_future(server.serve())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    while not _accepts(port):  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0.01)
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()
    await serving


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    asyncio.run(main())
