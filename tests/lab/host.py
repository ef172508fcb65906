"""A host of the lab: a network namespace and its own view of /etc, /run and /var/lib, where rendered files stand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.processes import wait_for as wait_at_most

ROOT = Path(__file__).resolve().parents[2]
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
PATIENCE_SECONDS = 180.0
"""Nothing in the lab takes that long, unless many other things run beside it."""
_VIEW = """
set -e
mount -t overlay overlay -o lowerdir="$1/etc":/etc,upperdir="$1/upper",workdir="$1/work" /etc
mount -t tmpfs lab /run
mount -t tmpfs lab /var/lib
echo ready
exec sleep infinity
"""


class Host:
    """Its processes run between `start` and the end of the lab."""

    def __init__(self, name: str, folder: Path) -> None:
        """`folder`/etc holds what was rendered for it."""
        self.name = name
        self.folder = folder
        self._holder: subprocess.Popen[str] | None = None

    def start(self, secrets: Mapping[str, bytes]) -> None:
        """Make its view; `secrets` are files below /etc that nobody renders. Then its firewall stands."""
        for sub in ("etc", "upper", "work"):
            (self.folder / sub).mkdir(parents=True, exist_ok=True)
        for path, content in secrets.items():
            file = self.folder / "upper" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        self._holder = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.name}", "unshare", "--mount", "sh", "-c", _VIEW, "sh", self.folder],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n", f"{self.name} has no view of its own"
        if (self.folder / "etc/nftables.conf").exists():
            self.run(["nft", "-f", "/etc/nftables.conf"])

    def path(self, path: str) -> Path:
        """A path as the host sees it, for the lab itself."""
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/root") / path.lstrip("/")

    def sockets(self) -> str:
        """The host's IPv4 connections, as the kernel lists them."""
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/net/tcp").read_text()

    def enter(self, command: Sequence[str | Path]) -> list[str]:
        """The command, run on the host."""
        assert self._holder is not None
        return ["nsenter", "-t", str(self._holder.pid), "-m", "-n", "--", *(str(word) for word in command)]

    def run(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
        *,
        timeout: float = PATIENCE_SECONDS,
    ) -> str:
        """Run a command on the host; what it printed. Errors: AssertionError with all it said."""
        done = subprocess.run(
            self.enter(command), env=environment_of(environment), capture_output=True, text=True,
            timeout=PATIENCE_SECONDS, check=False, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, f"{self.name}: {command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def python(self, module: str, *arguments: str | Path) -> list[str]:
        """A module of the lab, as a command on the host."""
        return self.enter([sys.executable, "-m", module, *arguments])

    def put(self, path: str, content: bytes) -> None:
        """Write a file of the host."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".new")
        temporary.write_bytes(content)
        if file.exists():
            shutil.copystat(file, temporary)
            os.chown(temporary, file.stat().st_uid, file.stat().st_gid)
        temporary.replace(file)


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Wait until a condition holds; what it gave. Errors: AssertionError, naming what was waited for."""
    return wait_at_most(condition, what, PATIENCE_SECONDS)


def environment_of(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What every process of the lab gets: nothing of this machine's settings, the lab's own authority."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SATCHEL_", "PG"))}
    return {**kept, "SSL_CERT_FILE": AUTHORITIES, "PYTHONPATH": str(ROOT), **(more or {})}
