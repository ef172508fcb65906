"""SAP CAP as a service beside the tests: `with cap_service() as url:`.

The npm packages, Node among them, are installed once into `.node/cap` of the repository.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).parent
ROOT = PROJECT.parents[2]
PLACE = ROOT / ".node" / "cap"
SERVICE_PATH = "/odata/v4/bookshop/"
AUDIT_PATH = "/odata/v4/audit/"
START_SECONDS = 30.0

_ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}


@contextmanager
def cap_service() -> Iterator[str]:
    """Start the bookshop with an empty in-memory database; yields the service root."""
    install()
    port = _free_port()
    log_path = PLACE / f"server-{port}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [_node(), "node_modules/@sap/cds/bin/serve.js", "all", "--in-memory", "--port", str(port)],
            cwd=PLACE,
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


def install() -> None:
    """Bring project and packages to their place; does nothing where they are there already."""
    sources = [path for path in sorted(PROJECT.rglob("*")) if path.suffix in {".cds", ".js", ".json"}]
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    mark = PLACE / ".installed"
    if mark.exists() and mark.read_text() == wanted:
        return
    for path in sources:
        target = PLACE / path.relative_to(PROJECT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    # Nothing of these packages needs to be built: no install script is run.
    command = [_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=PLACE, check=True, timeout=300)
    mark.write_text(wanted)


def _npm() -> str:
    """npm; on a bare Debian it is installed first."""
    if shutil.which("npm") is None:
        print("satchel: installing Debian's npm", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=300)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "npm"], check=True, timeout=600)
    return shutil.which("npm") or "npm"


def _node() -> str:
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    return str(PLACE / "node_modules" / f"node-linux-{architecture}" / "bin" / "node")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
