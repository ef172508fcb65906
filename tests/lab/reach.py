"""Runs on a host: tries to connect, and tells what came of it. `python -m tests.lab.reach ADDRESS:PORT...`"""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

CONNECTED, REFUSED, SILENT = "connected", "refused", "silent"
_PATIENCE_SECONDS = 2.0


def attempt(target: str) -> str:
    """One real attempt."""
    address, _, port = target.rpartition(":")
    try:
        socket.create_connection((address, int(port)), timeout=_PATIENCE_SECONDS).close()
    except TimeoutError:
        return SILENT
    except OSError:
        return REFUSED
    return CONNECTED


if __name__ == "__main__":
    with ThreadPoolExecutor(max_workers=50) as threads:
        targets = sys.argv[1:]
        print(json.dumps(dict(zip(targets, threads.map(attempt, targets), strict=True))))
