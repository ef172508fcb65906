"""SAP CAP as a service beside the tests: `with cap_service() as url:`.

The npm packages, Node among them, are installed once into `.node/cap` of the repository.
"""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import npm
from tests.support.free_ports import free_port

PROJECT = Path(__file__).parent
SERVICE_PATH = "/odata/v4/bookshop/"
AUDIT_PATH = "/odata/v4/audit/"
START_SECONDS = 30.0


@contextmanager
def cap_service() -> Iterator[str]:
    """Start the bookshop with an empty in-memory database; yields the service root."""
    place = npm.install(PROJECT, "cap")
    port = free_port()
    log_path = place / f"server-{port}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [npm.node(place), "node_modules/@sap/cds/bin/serve.js", "all", "--in-memory", "--port", str(port)],
            cwd=place,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NODE_ENV": "test", "CDS_TELEMETRY_DISABLED": "true", "NO_COLOR": "1"},
        )
    url = f"http://127.0.0.1:{port}{SERVICE_PATH}"
    try:
        _wait_until_ready(url, process, log_path)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)
        log_path.unlink(missing_ok=True)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"SAP CAP did not start:\n{log_path.read_text()[-2000:]}")
