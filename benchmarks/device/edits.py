"""An edit on one device until another connected device has it; a day's work until the source has it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from benchmarks.ground.figures import Book, Subject
from satchel.device import Device
from tests.support.processes import Satchel, sandbox, satchel

EDITS, DAYS_WORK = 100, 1_000
ROWS = 20_000
LONGEST_SECONDS = 300.0
PROFILE = """
name = "all contacts"
[[entity]]
name = "contact"
rows = ["all"]
"""
MEDIAN = Subject("edit on a device -> another connected device, source and back, median", "ms")
P95 = Subject("edit on a device -> another connected device, source and back, 95th percentile", "ms")
DAY = Subject("pending edits of a day until each has its verdict", "edits/s")


class Arrivals:
    """Another device of the same user, connected: when it has which value of a row."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._value: object = None

    def __enter__(self) -> Arrivals:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for(self, value: str) -> float:
        """The moment at which the device has it. Errors: TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._value == value, LONGEST_SECONDS):
                raise TimeoutError(f"{value} did not arrive.")
        return time.monotonic()

    def _watch(self) -> None:
        with Device.open(self._folder) as device:
            while not self._stop.is_set():
                device.sync(wait_seconds=1.0)
                row = device.table("contact").get(self._key)
                with self._changed:
                    self._value = row["jobtitle"] if row else None
                    self._changed.notify_all()


def measure(book: Book, folder: Path) -> None:
    """All figures about edits, in a sample organization. The devices' first syncs are not part of them."""
    folder.mkdir(parents=True, exist_ok=True)
    profile = folder / "profile.toml"
    profile.write_text(PROFILE)
    with sandbox(folder, ROWS) as source, satchel(folder / "data") as running:
        running.add(source, profile=profile)
        administrator = source.rows("systemusers", **{"$filter": "title eq 'Administrator'"})[0]
        _measure(book, running, str(administrator["systemuserid"]), folder)


def _measure(book: Book, running: Satchel, user: str, folder: Path) -> None:
    for name in ("editor", "reader"):
        Device.enroll(running.invite(user), folder / name, is_encrypted=False).close()
        with Device.open(folder / name) as device:
            device.sync()
    with Device.open(folder / "editor") as device:
        keys = [str(row["contactid"]) for row in device.sql("select contactid from contact limit ?", [DAYS_WORK])]
        seen = sorted(1000 * seconds for seconds in _latencies(device, folder / "reader", keys[0]))
        for number, key in enumerate(keys):
            device.update("contact", key, jobtitle=f"day {number}")
        began = time.monotonic()
        while device.pending() and time.monotonic() - began < LONGEST_SECONDS:
            device.sync(wait_seconds=1.0)
        assert not device.pending(), device.pending()[:1]
        playing = time.monotonic() - began
    book.note(MEDIAN, seen)
    book.note(P95, [seen[int(len(seen) * 0.95)]], f"{len(seen)} edits")
    book.note(DAY, [len(keys) / playing], f"{len(keys):,} edits")


def _latencies(device: Device, other: Path, key: str) -> list[float]:
    found = []
    with Arrivals(other, key) as arrivals:
        for number in range(EDITS):
            began = time.monotonic()
            device.update("contact", key, jobtitle=f"edit {number}")
            device.sync()
            found.append(arrivals.wait_for(f"edit {number}") - began)
    return found
