"""Every service in a process of its own against Debian's PostgreSQL: as on several hosts, without `satchel up`.

Who starts them again when they die is the host's service manager; here it is a thread.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx

from tests.support.debian_postgres import DebianPostgres

SERVICES = {"provisioning": "provisioning", "worker": "worker", "worker-2": "worker", "sync": "sync"}
LOOK_SECONDS = 0.1


class SeparateServices:
    """PostgreSQL and the services, each started again where it dies."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        """`environment` is the services'; the server's address is added."""
        self._log = folder / "services.log"
        self.postgres = DebianPostgres(folder / "debian-postgres")
        self._settings = environment
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._stop = threading.Event()
        self._tending = threading.Thread(target=self._tend, daemon=True)
        self.may_tend = threading.Event()
        """Not set: what dies stays dead."""
        self.may_tend.set()
        self.is_first = True

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs besides the settings."""
        return {"SATCHEL_DATABASE__URL": self.postgres.url}

    def start(self) -> None:
        """Start all, and wait until devices can come."""
        self._stop.clear()
        if self.is_first:
            self.postgres.__enter__()
            self.is_first = False
        else:
            self.postgres.start()
        subprocess.run(
            [sys.executable, "-m", "satchel", "run", "migrate"],
            env={**os.environ, **self._settings, **self.environment}, check=True, timeout=120,
        )  # fmt: skip
        for name in (*SERVICES, *(["console"] if self._settings.get("SATCHEL_CONSOLE__PORT", "0") != "0" else [])):
            self._spawn(name)
        self._tending = threading.Thread(target=self._tend, daemon=True)
        self._tending.start()

    def stop(self) -> int:
        """Stop all; the worst exit status."""
        self._stop.set()
        self._tending.join(30)
        for child in self._children.values():
            child.terminate()
        statuses = []
        for child in self._children.values():
            try:
                statuses.append(child.wait(30))
            except subprocess.TimeoutExpired:
                child.kill()
                statuses.append(child.wait())
        self.postgres.stop()
        return max(abs(status) for status in statuses)

    def pids(self) -> dict[str, int]:
        """Process ids by service."""
        found = {name: child.pid for name, child in self._children.items()}
        return found | ({"postgres": self.postgres.pid} if self.postgres.pid else {})

    def _spawn(self, name: str) -> None:
        with self._log.open("ab") as log:
            self._children[name] = subprocess.Popen(
                [
                    "setpriv",
                    "--pdeathsig",
                    "TERM",
                    "--",
                    sys.executable,
                    "-m",
                    "satchel",
                    "run",
                    SERVICES.get(name, name),
                ],
                env={**os.environ, **self._settings, **self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _tend(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            if not self.may_tend.is_set():
                continue
            if self.postgres.pid is None:
                self.postgres.start()
            for name, child in list(self._children.items()):
                if child.poll() is not None:
                    self._spawn(name)


def is_live(port: int) -> bool:
    """A sync server answers there."""
    try:
        return httpx.get(f"https://localhost:{port}/health/live", verify=False, timeout=2).is_success  # noqa: S501
    except httpx.HTTPError:
        return False
