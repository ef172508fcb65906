"""Every request is counted; a poll that finds nothing leaves no span; nobody writes into a partition unheard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import zstandard

PROGRAM = """
import asyncio, os
from satchel.http.observe import Observed, Tally
from satchel.settings.load import load
from satchel.telemetry import metrics
from satchel.telemetry.request import enter_request, note_caller
from satchel.telemetry.start import telemetry
from satchel.telemetry.trace import current_traceparent, span

async def app(scope, receive, send):
    status = int(scope["query_string"].decode().split("=")[-1])
    if status == 200:
        note_caller("contoso", "device-1")
        enter_request()
        with span("inner"):
            pass
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"12345"})

async def ask(observed, status, traceparent, **more):
    async def send(message):
        return
    scope = {"type": "http", "method": "POST", "path": "/v1/orgs/contoso/sync", "query_string": b"s=%d" % status,
             "headers": [(b"traceparent", traceparent)], **more}
    await observed(scope, None, send)

async def all_of_it():
    observed = Observed(app, Tally())
    for _ in range(3):
        await ask(observed, 204, b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")
    await ask(observed, 200, b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")
    await ask(observed, 403, b"hostile\\xff" * 50)
    await ask(observed, 200, b"", path="/health/ready")

with telemetry(load(None, os.environ, {}), "sync"):
    asyncio.run(all_of_it())
    print(metrics.page().decode())
"""


def test_requests_are_counted_and_polls_leave_no_span(tmp_path: Path) -> None:
    environment = {**os.environ, "SATCHEL_DATA__FOLDER": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=60
    )

    route = 'route="/v1/orgs/{organization}/sync"'
    assert f'satchel_requests_total{{endpoint="sync",{route},status="204"}} 3.0' in done.stdout
    assert "satchel_polls_total 3.0" in done.stdout
    assert "satchel_open_requests 0.0" in done.stdout
    assert "satchel_sync_bytes_total 10.0" in done.stdout
    kept = {
        path.parts[-6]: zstandard.decompress(path.read_bytes(), 10**6).decode()
        for path in (tmp_path / "objects" / "telemetry" / "traces").rglob("*.zst")
    }
    assert set(kept) == {"contoso", "_system"}
    assert '"parent":"bbbbbbbbbbbbbbbb"' in kept["contoso"]
    assert '"status":403' in kept["_system"]
    assert "/health/ready" not in str(kept)
    assert "1" * 32 not in str(kept)
