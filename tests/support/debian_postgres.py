"""Debian's PostgreSQL, started by the test as an unprivileged user: TCP on loopback, passwords, its defaults."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import psycopg

from tests.support.free_ports import free_port

START_SECONDS = 60.0


class DebianPostgres:
    """One server; its log stands in `folder`. Its administrator may make databases and roles but is no superuser."""

    def __init__(self, folder: Path) -> None:
        """Nothing is made yet."""
        self.folder = folder
        self.port = free_port()
        self._password = secrets.token_hex(12)
        self.home = Path(tempfile.gettempdir()) / f"satchel-{secrets.token_hex(6)}"
        """The server's files; another user may go there."""
        self._user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the administrator."""
        return f"postgresql://administrator:{self._password}@127.0.0.1:{self.port}/postgres"

    @property
    def superuser_url(self) -> str:
        """For tests that look at everything."""
        return f"postgresql://postgres@/postgres?host={self.home}&port={self.port}"

    @property
    def pid(self) -> int | None:
        """Of the running server."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def __enter__(self) -> Self:
        """Make and start."""
        self.make()
        self.start()
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            connection.execute(f"create role administrator login createdb createrole password '{self._password}'")
            connection.execute("grant pg_signal_backend to administrator")
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and leave nothing."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def make(self) -> None:
        """The server's files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(self.home, self._user.pw_uid, self._user.pw_gid)
        arguments = [
            "-D",
            str(self.home / "data"),
            "-U",
            "postgres",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
        ]
        subprocess.run(
            self._as_user([str(binaries() / "initdb"), *arguments, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]),
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip

    def start(self) -> None:
        """Start, and wait until it answers; also after it was killed."""
        options = ["-p", str(self.port), "-k", str(self.home), "-c", "listen_addresses=127.0.0.1"]
        options += ["-c", "max_connections=200", "-c", "log_min_messages=warning"]
        log = self.folder / "postgres.log"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.pid is None:
                with log.open("ab") as file:
                    self._child = subprocess.Popen(
                        self._as_user([str(binaries() / "postgres"), "-D", str(self.home / "data"), *options]),
                        stdout=file, stderr=file, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True,
                    )  # fmt: skip
            try:
                psycopg.connect(self.superuser_url, connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"PostgreSQL did not start:\n{log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Stop; open transactions are rolled back."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
            try:
                self._child.wait(20)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def query(self, database: str, statement: str) -> list[tuple[object, ...]]:
        """Look into a database, as the superuser."""
        with psycopg.connect(self.superuser_url, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _as_user(self, command: list[str]) -> list[str]:
        options = ["--pdeathsig", "INT"]
        if self._user is not None:
            options += [f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--init-groups"]
        return ["setpriv", *options, "--", *command]


def binaries() -> Path:
    """The newest PostgreSQL of Debian's packages."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    assert found, "Debian's postgresql is not installed: run tests/prepare.py"
    return found[-1].parent
