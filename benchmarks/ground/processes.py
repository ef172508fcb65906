"""Processes that belong to a measurement: their processor time, their memory, and that none of them is left behind."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

READY_SECONDS = 180.0
STOP_SECONDS = 15.0
SAMPLE_SECONDS = 0.05
_PARENT_DEATH_SIGNAL = 1  # prctl PR_SET_PDEATHSIG
_LIBC = ctypes.CDLL(None)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time so far of all threads of these processes. Source: /proc/PID/task/*/schedstat (nanoseconds)."""
    nanoseconds = 0
    for pid in pids:
        for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                nanoseconds += int(stat.read_text().split()[0])
            except OSError:
                continue
    return nanoseconds / 1e9


def megabytes(pid: int) -> float:
    """Memory of a process, what it shares with others divided among them (Pss); 0 where it has gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


def family(pid: int) -> list[int]:
    """A process and all that it started, and those started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


class Peak(threading.Thread):
    """The most memory that a process and its children had while the block ran, in MB."""

    def __init__(self, pid: int) -> None:
        """Begin with the block."""
        super().__init__(daemon=True)
        self._pid = pid
        self._is_done = threading.Event()
        self.megabytes = 0.0

    def __enter__(self) -> Peak:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._is_done.set()
        self.join()

    def run(self) -> None:
        """Sample."""
        while not self._is_done.wait(SAMPLE_SECONDS):
            self.megabytes = max(self.megabytes, sum(map(megabytes, family(self._pid))))


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Seconds, in the list when the block ends."""
    seconds: list[float] = []
    began = time.monotonic()
    yield seconds
    seconds.append(time.monotonic() - began)


class Program:
    """A child process that ends with us, whatever happens to us; it may answer in JSON lines."""

    def __init__(
        self, command: Sequence[str], log: Path, folder: Path | None = None, *, is_asked: bool = True, **more: str
    ) -> None:
        """Start it, with more in its environment. One that is not asked for anything writes all it says to the log."""
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("ab") as log_file:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if is_asked else log_file,
                stderr=log_file,
                cwd=folder,
                text=True,
                env={**os.environ, **more},
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call, no locks
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.child.pid

    def answer(self, seconds: float = READY_SECONDS) -> Any:
        """The next JSON line it prints; other lines are passed over. Errors: RuntimeError where it ends instead."""
        assert self.child.stdout is not None
        timer = threading.Timer(seconds, self.child.kill)
        timer.start()
        try:
            for line in self.child.stdout:
                if line.startswith(("{", "[")):
                    return json.loads(line)
        finally:
            timer.cancel()
        raise RuntimeError(f"{' '.join(map(str, self.child.args))} gave no answer:\n{self.log.read_text()[-2000:]}")  # type: ignore[arg-type]

    def ask(self, question: object, seconds: float = READY_SECONDS) -> Any:
        """Write a JSON line to it and return its answer."""
        self.tell(question)
        return self.answer(seconds)

    def tell(self, message: object) -> None:
        """Write a JSON line to it."""
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(message) + "\n")
        self.child.stdin.flush()

    def stop(self) -> None:
        """End it and what it started."""
        pids = family(self.pid) if self.child.poll() is None else []
        self.child.terminate()
        try:
            self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        for pid in pids[1:]:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)
        for stream in (self.child.stdin, self.child.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def program(
    command: Sequence[str], log: Path, folder: Path | None = None, *, is_asked: bool = True, **more: str
) -> Iterator[Program]:
    """A child process for the length of the block; see `Program`."""
    running = Program(command, log, folder, is_asked=is_asked, **more)
    try:
        yield running
    finally:
        running.stop()


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs one of our modules."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def _end_with_parent() -> None:
    _LIBC.prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
