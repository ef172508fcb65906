"""Object storage servers beside the tests: Azurite (Azure Blob, from npm) and moto (S3, a Python package)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

from satchel.settings.schema import Storage
from tests.support import npm
from tests.support.processes import free_port

PROJECT = Path(__file__).parent
START_SECONDS = 60.0
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account that every Azurite has; its documentation names it."""


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """An Azure Blob server, empty; yields its address with the account."""
    place = npm.install(PROJECT, "azurite")
    port = free_port()
    program = place / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    options = ["--blobPort", str(port), "--blobHost", "127.0.0.1", "--location", str(folder), "--silent",
               "--disableTelemetry", "--skipApiVersionCheck"]  # fmt: skip
    with _running([npm.node(place), str(program), *options], f"http://127.0.0.1:{port}/", folder / "azurite.log"):
        yield f"http://127.0.0.1:{port}/{ACCOUNT}"


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """An S3 server, empty; yields its address."""
    port = free_port()
    program = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(program, f"http://127.0.0.1:{port}/", folder / "moto.log"):
        yield f"http://127.0.0.1:{port}"


def azure_storage(address: str) -> Storage:
    """Settings for a new container."""
    container = f"test-{uuid.uuid4().hex[:12]}"
    moment, path = formatdate(usegmt=True), f"/{ACCOUNT}/{container}"
    # Source: Authorize with Shared Key (Blob service), version 2009-09-19 and later: 11 empty header lines.
    lines = [
        "PUT",
        *[""] * 11,
        f"x-ms-date:{moment}",
        "x-ms-version:2021-08-06",
        f"/{ACCOUNT}{path}",
        "restype:container",
    ]
    digest = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": moment,
        "x-ms-version": "2021-08-06",
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
        "Content-Length": "0",
    }
    url = f"{address}/{container}?restype=container"
    urllib.request.urlopen(urllib.request.Request(url, headers=headers, method="PUT"), timeout=10).close()
    return Storage(url=f"az://{container}/prefix", endpoint=address, key_id=ACCOUNT, key_secret=KEY, timeout_seconds=10)


def s3_storage(address: str) -> Storage:
    """Settings for a new bucket."""
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    urllib.request.urlopen(urllib.request.Request(f"{address}/{bucket}", method="PUT"), timeout=10).close()
    return Storage(
        url=f"s3://{bucket}/prefix",
        endpoint=address,
        region="us-east-1",
        key_id="test",
        key_secret="planted-storage-secret",
        timeout_seconds=10,
    )


@contextmanager
def _running(command: Sequence[str], url: str, log_path: Path) -> Iterator[None]:
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_it_answers(url, process, log_path)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as refusal:  # an answer
            refusal.close()
        except OSError:
            time.sleep(0.05)
            continue
        return
    raise RuntimeError(f"it did not start: {log_path.read_text()[-2000:]}")
