"""Runs the rendered systemd units as systemd would: user, capabilities, credentials, folders, restarts."""

from __future__ import annotations

import os
import pwd
import shlex
import signal
import subprocess
import threading
import time
from collections import defaultdict
from pathlib import Path

from tests.lab.host import ROOT, Host, environment_of

UNITS = "/etc/systemd/system"
DYNAMIC_USER = 61184
"""The first uid that systemd gives to services without a user of their own."""
_TICK_SECONDS = 0.05
_RESTART_SECONDS = 1.0


class Unit:
    """One service of one host; it is started again where it dies, until it is stopped."""

    def __init__(self, host: Host, name: str, log: Path) -> None:
        self.host, self.name = host, name
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._lock = threading.RLock()
        self._not_before = 0.0
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Of the main process, if it runs."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def read(self) -> dict[str, list[str]]:
        """The [Service] part, read anew each time as after `daemon-reload`."""
        found: dict[str, list[str]] = defaultdict(list)
        for line in self.host.path(f"{UNITS}/{self.name}.service").read_text().splitlines():
            key, is_set, value = line.partition("=")
            if is_set and not line.startswith("#"):
                found[key].append(value)
        return found

    def environment(self) -> dict[str, str]:
        """What the unit's processes get; its credentials stand afterwards."""
        service = self.read()
        folder = Path(f"/run/credentials/{self.name}")
        for one in service["LoadCredential"]:
            credential, _, source = one.partition(":")
            self._place(folder / credential, self.host.path(source).read_bytes())
        values = {"%d": str(folder), "%S": "/var/lib"}
        pairs = [one.partition("=") for one in service["Environment"]]
        return environment_of({name: _filled(value, values) for name, _, value in pairs})

    def command(self, line: str) -> list[str]:
        """An Exec line as a command on the host, with the unit's user and capabilities."""
        service = self.read()
        words = [_filled(word, {"%S": "/var/lib"}) for word in shlex.split(line.lstrip("+-"))]
        if "+" in line[: len(line) - len(line.lstrip("+-"))]:
            return self.host.enter(words)
        limits = [f"--nofile={number}" for number in service["LimitNOFILE"]]
        return self.host.enter([*(["prlimit", *limits, "--"] if limits else []), "setpriv", *_user_options(service),
                                "--", *words])  # fmt: skip

    def start(self) -> None:
        """Start it, and keep it started."""
        with self._lock:
            self._wanted, self._not_before = True, time.monotonic() + _RESTART_SECONDS
            service, environment = self.read(), self.environment()
            for kind in ("StateDirectory", "RuntimeDirectory"):
                for name in service[kind]:
                    folder = self.host.path(f"{'/var/lib' if kind == 'StateDirectory' else '/run'}/{name}")
                    folder.mkdir(exist_ok=True)
                    os.chown(folder, _uid(service), _uid(service))
            with self._log.open("ab") as log:
                for line in service["ExecStartPre"]:
                    done = subprocess.run(
                        self.command(line), env=environment, stdout=log, stderr=log, cwd=ROOT, check=False
                    )
                    if done.returncode and "-" not in line.split("/")[0]:
                        return
                self._child = subprocess.Popen(
                    self.command(service["ExecStart"][0]), env=environment, stdout=log, stderr=log, cwd=ROOT,
                    start_new_session=True,
                )  # fmt: skip

    def stop(self) -> None:
        """As `systemctl stop`."""
        with self._lock:
            self._wanted = False
            service = self.read()
            if self._child is not None and self._child.poll() is None:
                self._child.send_signal(getattr(signal, (service["KillSignal"] or ["SIGTERM"])[0]))
                try:
                    self._child.wait(float(service["TimeoutStopSec"][0]) if service["TimeoutStopSec"] else 30)
                except subprocess.TimeoutExpired:
                    self._end()

    def restart(self) -> None:
        """As `systemctl restart`."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9 of all its processes; it comes back by itself."""
        self._end()

    def tend(self) -> None:
        """Start it again if it died."""
        with self._lock:
            if self._wanted and self.pid is None and time.monotonic() > self._not_before:
                self.restarts += 1
                self.start()

    def _end(self) -> None:
        child = self._child
        if child is not None and child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def _place(self, path: Path, content: bytes) -> None:
        file = self.host.path(str(path))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_bytes(content)
        file.chmod(0o400)
        uid = _uid(self.read())
        os.chown(file, uid, uid)


class Units:
    """All services of all hosts, and what tends them."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._units: dict[tuple[str, str], Unit] = {}
        self._stop = threading.Event()
        self._tending = threading.Thread(target=self._tend, daemon=True)

    def add(self, host: Host) -> list[Unit]:
        """Take the units that were rendered for a host; those that were not there before."""
        names = [file.name.removesuffix(".service") for file in sorted(host.path(UNITS).glob("satchel-*.service"))]
        new = [Unit(host, name, self._logs / f"{host.name}.{name}.log") for name in names
               if (host.name, name) not in self._units]  # fmt: skip
        self._units = {**self._units, **{(unit.host.name, unit.name): unit for unit in new}}
        return new

    def get(self, host: str, name: str) -> Unit:
        """A host's unit, without `satchel-`."""
        return self._units[host, f"satchel-{name}"]

    def all(self, name: str = "") -> list[Unit]:
        """Those of that name, or all."""
        return [unit for (_, own), unit in self._units.items() if not name or own == f"satchel-{name}"]

    def tend(self) -> None:
        """From now on what dies is started again."""
        self._tending.start()

    def close(self) -> None:
        """End all of it."""
        self._stop.set()
        for unit in self.all():
            unit.kill()

    def _tend(self) -> None:
        while not self._stop.wait(_TICK_SECONDS):
            for unit in self.all():
                if unit._lock.acquire(blocking=False):
                    try:
                        unit.tend()
                    finally:
                        unit._lock.release()


def _filled(text: str, values: dict[str, str]) -> str:
    for specifier, value in values.items():
        text = text.replace(specifier, value)
    return text


def _uid(service: dict[str, list[str]]) -> int:
    if service["User"]:
        return pwd.getpwnam(service["User"][0]).pw_uid
    return DYNAMIC_USER if service["DynamicUser"] else 0


def _user_options(service: dict[str, list[str]]) -> list[str]:
    """The program may stand in a folder of root's: unlike on a real host, it may read through those."""
    uid = _uid(service)
    names = [name.removeprefix("CAP_").lower() for one in service["AmbientCapabilities"] for name in one.split()]
    wanted = ",".join(["-all", *(f"+{name}" for name in [*names, "dac_read_search"])])
    if uid == 0:
        return [f"--bounding-set={wanted},+dac_override,+net_admin,+setuid,+setgid"]
    return [f"--reuid={uid}", f"--regid={uid}", "--clear-groups", f"--inh-caps={wanted}", f"--ambient-caps={wanted}",
            f"--bounding-set={wanted}", "--no-new-privs"]  # fmt: skip
