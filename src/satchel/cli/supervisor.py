"""Starts PostgreSQL and the services as child processes, restarts what dies, and stops all of it together."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec
import structlog

from satchel.database.embedded import EmbeddedPostgres, RunningProcesses
from satchel.errors import ConfigError, DatabaseUnusable, DataFolderUnusable, PortInUse, SatchelError
from satchel.identity.keys import MasterKey, write_private
from satchel.settings.schema import Settings

SERVICES = ("provisioning", "worker", "sync", "console")
MISCONFIGURED = 2
STOP_SECONDS = 12.0
READY_SECONDS = 60.0
TICK_SECONDS = 0.1
FIRST_RESTART_SECONDS = 0.3
LONGEST_RESTART_SECONDS = 30.0
HEALTHY_SECONDS = 30.0
log = structlog.get_logger()


class Service:
    """One child process and when it may start again."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Nothing is started yet."""
        self.name = name
        self._command = _ending_with_us(command)
        self._environment = dict(environment)
        self._failures = 0
        self._not_before = 0.0
        self._began = 0.0
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process."""
        self._began = time.monotonic()
        self.child = subprocess.Popen(self._command, env=self._environment, start_new_session=True)

    def tend(self) -> bool:
        """Start it again if it died, at growing distances; True where it was started. Errors: SatchelError."""
        status = self.child.poll() if self.child else None
        if self.child is not None and status is None:
            return False
        now = time.monotonic()
        if self.child is not None:
            if status == MISCONFIGURED:
                raise ConfigError(f"The service {self.name} cannot run with these settings; its message stands above.")
            self._failures = 0 if now - self._began > HEALTHY_SECONDS else self._failures + 1
            wait = min(LONGEST_RESTART_SECONDS, FIRST_RESTART_SECONDS * 2.0 ** max(0, self._failures - 1))
            log.warning("service ended, starting it again", name=self.name, status=status, in_seconds=round(wait, 1))
            self._not_before, self.child = now + wait, None
        if now < self._not_before:
            return False
        self.start()
        return True

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()

    def stop(self, deadline: float) -> None:
        """Wait until the deadline, then SIGKILL."""
        if self.child is None:
            return
        try:
            self.child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Supervisor:
    """Everything that `satchel up` runs."""

    def __init__(self, settings: Settings, config: Path | None, on_progress: Callable[[str], None]) -> None:
        """`on_progress` takes a line for a person."""
        self._settings = settings
        self._config = config
        self._on_progress = on_progress
        self._postgres: EmbeddedPostgres | None = None
        self._services: list[Service] = []
        self._lock: IO[str] | None = None
        self._stop = threading.Event()

    def run(self, on_ready: Callable[[], None]) -> None:
        """Run until SIGTERM or SIGINT. Errors: ConfigError before anything was started."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        self._take_lock()
        MasterKey.load(self._settings)  # a key that cannot be used shows before anything starts
        _require_free_port(self._settings.sync.host, self._settings.sync.port)
        _require_free_port(self._settings.management.host, self._settings.management.port)
        if self._settings.console.port:
            _require_free_port(self._settings.console.host, self._settings.console.port)
        try:
            self._start()
            self._tend(on_ready)
        finally:
            self._end()

    def _start(self) -> None:
        url = self._settings.database.url
        if not url:
            self._postgres = EmbeddedPostgres(self._settings.postgres_folder, self._on_progress)
            url = self._postgres.start()
        environment = {
            **os.environ,
            "SATCHEL_DATABASE__URL": url,
            "SATCHEL_DATA__FOLDER": str(self._settings.data_folder),
        }
        if self._config is not None:
            environment["SATCHEL_CONFIG"] = str(self._config.absolute())
        self._url = url
        run = [sys.executable, "-m", "satchel", "run"]
        migration = subprocess.run([*run, "migrate"], env=environment, check=False)
        if migration.returncode != 0:
            raise DatabaseUnusable("The control database could not be prepared; the message stands above.")
        self._services = [Service(name, [*run, name], environment) for name in SERVICES if self._wants(name)]

    def _wants(self, service: str) -> bool:
        return service != "console" or self._settings.console.port > 0

    def _tend(self, on_ready: Callable[[], None]) -> None:
        began, is_ready = time.monotonic(), False
        while not self._stop.is_set():
            if self._postgres is not None and not self._postgres.is_running:
                log.warning("the database server ended, starting it again")
                self._postgres.start()
                self._write_state()
            if [service for service in self._services if service.tend()]:
                self._write_state()
            if not is_ready and _accepts(self._settings.sync.host, self._settings.sync.port):
                is_ready = True
                on_ready()
            if not is_ready and time.monotonic() - began > READY_SECONDS:
                raise SatchelError(f"The sync endpoint did not come up in {READY_SECONDS:.0f} s; the log stands above.")
            self._stop.wait(TICK_SECONDS)

    def _end(self) -> None:
        for service in self._services:
            service.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        for service in self._services:
            service.stop(deadline)
        if self._postgres is not None:
            self._postgres.stop()
        (self._settings.run_folder / "supervisor.json").unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()

    def _take_lock(self) -> None:
        folder = self._settings.run_folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = (folder / "lock").open("w")
        except OSError as error:
            raise DataFolderUnusable(f"{folder} cannot be written: {error.strerror}.") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataFolderUnusable(
                f"Satchel runs already on {self._settings.data_folder}.",
                hint="Stop it first, or give another data folder.",
            ) from error

    def _write_state(self) -> None:
        pids = {service.name: service.child.pid for service in self._services if service.child}
        pids["supervisor"] = os.getpid()
        if self._postgres is not None and self._postgres.pid is not None:
            pids["postgres"] = self._postgres.pid
        state = RunningProcesses(self._url, pids)
        write_private(self._settings.run_folder / "supervisor.json", msgspec.json.encode(state))


def _ending_with_us(command: Sequence[str]) -> list[str]:
    """A child gets SIGTERM when its supervisor is gone, however that ended (setpriv: util-linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--", *command] if setpriv else list(command)


def _require_free_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(f"Port {port} on {host} cannot be used: {error.strerror}.") from error


def _accepts(host: str, port: int) -> bool:
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - a comparison, not a listener
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False
