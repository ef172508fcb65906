"""`satchel sandbox` as a process: ready line, taken port, clean end, and a folder it finds again."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from tests.support.processes import sandbox


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "satchel", "sandbox", "--rows", "1000", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_taken_port_is_said_plainly() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = _run("--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "[E104]" in done.stderr
    assert "Try:" in done.stderr


def test_unusable_certificate_is_said_plainly(tmp_path: Path) -> None:
    pem = tmp_path / "bad.pem"
    pem.write_text("bad")
    done = _run("--port", "0", "--tls-cert", str(pem), "--tls-key", str(pem))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_next_start_goes_on_with_rows_audit_and_delta_links(tmp_path: Path) -> None:
    folder = ["--folder", str(tmp_path / "organization"), "--client-secret", "s"]
    with sandbox(tmp_path, 1000, *folder) as first:
        headers = {"Prefer": "odata.track-changes"}
        link = first.send("GET", "accounts?$select=name", headers=headers).json()["@odata.deltaLink"]
        first.send("POST", "accounts", json={"name": "Made before"})
    assert first.process.child.returncode == 0
    with sandbox(tmp_path, 1000, *folder) as second:
        changes = second.send("GET", link.partition("/api/data/v9.2/")[2]).json()["value"]
        audit = second.get("/sandbox/audit", after=0)
    assert [row["name"] for row in changes] == ["Made before"]
    assert [json.loads(entry["attributes"])["name"] for entry in audit] == ["Made before"]


def test_request_that_breaks_off_is_not_executed(tmp_path: Path) -> None:
    with sandbox(tmp_path, 1000) as running:
        place = urlsplit(running.url)
        for sent in (b"", b'{"name":"Cut off"'):
            head = (
                f"PATCH /api/data/v9.2/accounts({uuid4()}) HTTP/1.1\r\nhost: {place.netloc}\r\n"
                f"authorization: Bearer {running.token()}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(sent) + 10}\r\n\r\n"
            )
            with socket.create_connection((str(place.hostname), place.port or 80)) as broken:
                broken.sendall(head.encode() + sent)
                broken.shutdown(socket.SHUT_WR)
                broken.settimeout(10)
                assert b" 204 " not in broken.recv(1000)
        running.send("POST", "accounts", json={"name": "Whole"})
        audit = running.get("/sandbox/audit", after=0)
    assert [json.loads(entry["attributes"])["name"] for entry in audit] == ["Whole"]
