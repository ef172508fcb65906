"""Runs on a client host: syncs devices until each holds exactly what the source says its user may see.

`python -m tests.lab.agree`, one JSON line on stdin: {"source": ..., "devices": [[folder, user]], "seconds"}.
Prints what differs in the end, by device, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from satchel.device import Device, DeviceKey
from satchel.errors import SatchelError
from tests.support.checker import differences
from tests.support.processes import Sandbox


class Remembering(Sandbox):
    """Asks the source once for what many devices are compared with."""

    def __init__(self, ready: dict[str, Any]) -> None:
        super().__init__(None, ready)  # type: ignore[arg-type]
        self._known: dict[Any, Any] = {}

    def visible(self, user: str, entity: str, scope: str) -> set[str]:
        """As it was when it was asked first."""
        key = (user, entity, scope)
        if key not in self._known:
            self._known[key] = super().visible(user, entity, scope)
        found: set[str] = self._known[key]
        return found

    def rows(self, set_name: str, prefer: str = "", **parameters: str) -> list[dict[str, Any]]:
        """The same."""
        if set_name not in self._known:
            self._known[set_name] = super().rows(set_name, prefer, **parameters)
        found: list[dict[str, Any]] = self._known[set_name]
        return found


def main() -> None:
    """See above."""
    told = json.loads(sys.stdin.readline())
    waiting: dict[str, str] = dict(told["devices"])
    source, found = Remembering(told["source"]), dict[str, list[str]]()
    deadline = time.monotonic() + told["seconds"]
    while waiting and time.monotonic() < deadline:
        for folder, user in list(waiting.items()):
            found[folder] = _compare(Path(folder), source, user)
            if not found[folder]:
                del waiting[folder]
    print(json.dumps({folder: lines[:5] for folder, lines in found.items() if lines}), flush=True)


def _compare(folder: Path, source: Sandbox, user: str) -> list[str]:
    with Device.open(folder, key=DeviceKey.from_file(folder.parent / "key")) as device:
        try:
            device.sync()
        except SatchelError as error:
            return [f"{type(error).__name__}: {error}"]
        return differences(device, source, user)


if __name__ == "__main__":
    main()
