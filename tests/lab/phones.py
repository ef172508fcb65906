"""Runs on a client host: devices that edit and sync until they are told to come to an end, and then tell all they did.

Reads one JSON line: {"organization", "issuer", "folder", "devices": [{"number", "server", "user", "shared"}]}. Each
device finds the server by its name and signs in at the issuer, whose pages somebody fills in. Says "ready" when all
hold their data, then goes on until a line comes; then settles everything and prints one JSON line: the wishes, verdicts
and syncs of each. Where the line is "hand over" nothing is settled; another process goes on with the folders, and is
given what was printed as "stories".
"""

from __future__ import annotations

import json
import random
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from satchel.device import Device, DeviceKey, by_browser
from satchel.errors import DeviceBusy, RetryLater, SatchelError
from tests.contract.issuer.fixture import RunningIssuer
from tests.support.edits.torment import Kind, Verdicts, Wish, Worker

CONTACTS = Kind("contact", needed="lastname", attributes=("jobtitle",))
PAUSE_SECONDS = (0.3, 1.2)
RETRY_SECONDS = 5.0
SETTLE_SECONDS = 180.0


class Phone:
    """One device and its user."""

    def __init__(self, told: dict[str, Any], place: dict[str, Any], folder: Path, key_file: Path) -> None:
        self.number: int = told["number"]
        self._shared: list[str] = told["shared"]
        self._r = random.Random(self.number)
        self._serial = 0
        self.verdicts = Verdicts()
        self.worker = Worker(self.number, CONTACTS, folder / f"device{self.number}", key_file)
        self.syncs: list[dict[str, Any]] = []
        """Each: when it began, how many tries it took, how long, and why the tries before the last failed."""
        self._user: str = told["user"]
        self._server: str = told["server"]
        self._place = place
        self._issuer = RunningIssuer(place["issuer"], ssl.create_default_context())

    def take_over(self, story: dict[str, Any]) -> None:
        """Go on where another process left off."""
        self._serial, self.worker.own, self.syncs = story["serial"], story["own"], story["syncs"]
        self._r = random.Random(self.number + self._serial)
        self.worker.wishes = {key: [Wish(**wish) for wish in wishes] for key, wishes in story["wishes"].items()}

    def sign_in(self) -> None:
        """By browser, as a person does."""
        key = DeviceKey.from_file(self.worker.key_file)
        Device.sign_in(
            self._server, self._place["organization"], self.worker.folder, key=key,
            ask=lambda client: by_browser(client, self._at_the_browser),
        ).close()  # fmt: skip

    def _at_the_browser(self, url: str) -> None:
        threading.Thread(target=self._issuer.sign_in, args=(url, self._user), daemon=True).start()

    def sync(self) -> None:
        """Until it succeeds; a failed one is tried again after as long as the error says."""
        began, failures = time.time(), list[str]()
        while not self._try(failures):
            if time.time() - began > SETTLE_SECONDS:
                break
        self.syncs.append(
            {"at": began, "tries": len(failures) + 1, "seconds": time.time() - began, "failures": failures}
        )

    def live(self, stop: threading.Event) -> None:
        """Edit, sync, pause, until stopped."""
        while not stop.wait(self._r.uniform(*PAUSE_SECONDS)):
            with self.worker.open() as device:
                for _ in range(self._r.randint(0, 3)):
                    self._serial += 1
                    self.worker.edit(device, self._r, self._shared, self.number * 100_000 + self._serial)
            self.sync()

    def settle(self) -> list[str]:
        """Until nothing is on its way; what is left then."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            if self.worker.settle_all(self.verdicts):
                return []
            time.sleep(0.2)
        with self.worker.open() as device:
            return [f"{p.id} {p.state}" for p in device.pending()] + [repr(self.worker.trouble)]

    def story(self, left: list[str]) -> dict[str, Any]:
        """All it did."""
        return {
            "number": self.number,
            "folder": str(self.worker.folder),
            "wishes": {key: [asdict(wish) for wish in wishes] for key, wishes in self.worker.wishes.items()},
            "refused": [key for key in self.worker.wishes if self.verdicts.is_refused(key)],
            "uncertain": [key for key in self.worker.wishes if self.verdicts.is_uncertain(key)],
            "left": left,
            "syncs": self.syncs,
            "serial": self._serial,
            "own": self.worker.own,
        }

    def _try(self, failures: list[str]) -> bool:
        try:
            with self.worker.open() as device:
                device.sync()
        except (SatchelError, OSError) as error:
            failures.append(f"{time.time():.1f} {type(error).__name__}: {error}")
            wait = error.wait_seconds if isinstance(error, RetryLater) and error.wait_seconds else RETRY_SECONDS
            time.sleep(0.1 if isinstance(error, DeviceBusy) else wait)
            return False
        return True


def main() -> None:
    """See above."""
    told = json.loads(sys.stdin.readline())
    folder = Path(told["folder"])
    key_file = folder / "key"
    key_file.write_text("a key")
    phones = [Phone(one, told, folder, key_file) for one in told["devices"]]
    for phone, story in zip(phones, told["stories"], strict=False):
        phone.take_over(story)
    if not told["stories"]:
        _together([phone.sign_in for phone in phones])
    _together([phone.sync for phone in phones])
    print("ready", flush=True)
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=len(phones)) as threads:
        lives = [threads.submit(phone.live, stop) for phone in phones]
        is_end = sys.stdin.readline().strip() != "hand over"
        stop.set()
        for life in lives:
            life.result()
    left = _together([phone.settle for phone in phones]) if is_end else [[] for _ in phones]
    stories = [phone.story(each) for phone, each in zip(phones, left, strict=True)]
    print(json.dumps(stories), flush=True)


def _together(acts: list[Any]) -> list[Any]:
    with ThreadPoolExecutor(max_workers=len(acts)) as threads:
        return [each.result() for each in [threads.submit(act) for act in acts]]


if __name__ == "__main__":
    main()
