"""Devices that edit at random, sync when they can and are interrupted: what the laws about edits have in common."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from satchel.device import Device, DeviceKey, PendingSet, SetState
from satchel.errors import DeviceBusy, EditInvalid, SatchelError
from satchel.model.edits import Edit
from tests.support.processes import wait_for

ROOT = Path(__file__).parents[3]
EDITING = "tests.support.edits.endlessly"
PATIENCE_SECONDS = 150.0
UNCERTAIN = "satchel/uncertain"
"""The code of an outcome where nobody knows whether the source executed it."""


@dataclass(frozen=True)
class Kind:
    """What is edited: an entity, the attribute that a new row needs, and those that edits set."""

    entity: str
    needed: str
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class Wish:
    """An edit as a test wanted it, and the value that only this edit sets."""

    key: str
    action: str
    attribute: str
    value: str


@dataclass
class Verdicts:
    """What became of the sets that were not accepted."""

    decided: dict[str, PendingSet] = field(default_factory=dict)
    """What came home, by set."""
    discarded: set[str] = field(default_factory=set)
    """What was undone before anyone heard of it."""

    def is_refused(self, set_id: str) -> bool:
        """It came home, or never left."""
        return set_id in self.decided or set_id in self.discarded

    def is_uncertain(self, set_id: str) -> bool:
        """It came home with the word that it may have been executed."""
        pending = self.decided.get(set_id)
        outcome = pending.outcome if pending is not None else None
        return outcome is not None and any(each.code == UNCERTAIN for each in outcome.edits)


class Worker:
    """A device in the hands of a user who edits, syncs and is interrupted."""

    def __init__(self, number: int, kind: Kind, folder: Path, key_file: Path) -> None:
        self.number, self.kind, self.folder, self.key_file = number, kind, folder, key_file
        self.wishes: dict[str, list[Wish]] = {}
        self.own: list[str] = []
        self.trouble: Exception | None = None
        """Why the last sync failed."""

    @contextmanager
    def open(self) -> Iterator[Device]:
        with Device.open(self.folder, key=DeviceKey.from_file(self.key_file)) as device:
            yield device

    def edit(self, device: Device, r: random.Random, shared: list[str], serial: int) -> None:
        """One transaction of one to three changes, each with a value of its own."""
        wishes: list[Wish] = []
        entity = self.kind.entity
        try:
            with device.edit() as changes:
                for part in range(r.choice([1, 1, 1, 2, 3])):
                    value = f"edit {serial}.{part}"
                    attribute = r.choice(self.kind.attributes)
                    action = r.choice(["update", "update", "update", "update", "create", "delete"])
                    if action == "create":
                        key = changes.create(entity, {self.kind.needed: value, attribute: value})
                        self.own.append(key)
                    else:
                        key = r.choice(shared + self.own[-20:])
                        if any(wish.key == key for wish in wishes):
                            continue
                        if action == "update":
                            changes.update(entity, key, {attribute: value})
                        elif r.random() < 0.15:
                            changes.delete(entity, key)
                        else:
                            continue
                    wishes.append(Wish(key, action, attribute, value))
        except EditInvalid:
            return  # the row is gone here
        pending = device.pending()
        if pending and wishes:
            self.wishes[pending[-1].id] = wishes

    def undo_one(self, device: Device, r: random.Random, verdicts: Verdicts) -> None:
        """Discard an edit set that nobody has heard of, where there is one."""
        waiting = [p for p in device.pending() if p.state is SetState.WAITING and p.told == 0]
        if not waiting:
            return
        gone = r.choice(waiting)
        try:
            device.discard(gone.number)
        except EditInvalid:
            return  # later sets stand on it
        verdicts.discarded.add(gone.id)

    def edit_and_die(self, r: random.Random, shared: list[str], serial: int) -> None:
        """A process edits row after row and is killed; what its outbox then holds is what it did."""
        words = [self.kind.entity, self.kind.attributes[0], str(serial), *r.sample(shared, 5)]
        self._kill_later([EDITING, str(self.folder), str(self.key_file), *words], r.uniform(0.5, 1.2))
        with self.open() as device:
            for pending in device.pending():
                if pending.id not in self.wishes:
                    self.wishes[pending.id] = [_wish(edit) for edit in pending.edits]

    def sync_and_die(self, r: random.Random) -> None:
        """A process syncs and is killed."""
        where = ["--folder", str(self.folder), "--key-file", str(self.key_file)]
        self._kill_later(["satchel", "device", "sync", *where], r.uniform(0.4, 1.5))

    def _kill_later(self, module: list[str], seconds: float) -> None:
        child = subprocess.Popen(
            [sys.executable, "-m", *module], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
        )
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def count(self) -> int:
        """How many sets are in the outbox."""
        with self.open() as device:
            return len(device.pending())

    def settle_all(self, verdicts: Verdicts) -> bool:
        """Sync; note what came home with a verdict and let go of it; True where nothing is on its way."""
        with self.open() as device:
            self.trouble = None
            try:
                device.sync()
            except (SatchelError, OSError) as trouble:
                self.trouble = trouble
                return False
            found = {pending.number: pending for pending in device.pending()}
            for pending in found.values():
                if not pending.state.is_in_effect and any(p.number == pending.number for p in device.pending()):
                    for number in device.discard(pending.number, with_dependents=True):
                        verdicts.decided.setdefault(found[number].id, found[number])
            return not device.pending()


def come_home(workers: Sequence[Worker], verdicts: Verdicts) -> None:
    """Side by side, until nothing is on its way; a chain of conflicts about one row comes home one by one.

    Fails where nothing has moved for long, which says more of a set that is stuck than any time in all.
    """
    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(lambda worker: _come_home(worker, verdicts), workers))


def _come_home(worker: Worker, verdicts: Verdicts) -> None:
    before: list[tuple[str, int, str]] = []
    moved_at = time.monotonic()
    while not worker.settle_all(verdicts):
        with worker.open() as device:
            left = [(each.id, each.version, each.state.value) for each in device.pending()]
        if left != before:
            before, moved_at = left, time.monotonic()
        silent_seconds = time.monotonic() - moved_at
        assert silent_seconds < PATIENCE_SECONDS, (
            f"device {worker.number}: {len(left)} sets have not moved for {silent_seconds:.0f} s: {left[:5]};"
            f" {worker.trouble!r}"
        )
        time.sleep(0.05)


def all_agree(workers: Sequence[Worker], differences: Callable[[Device], list[str]], told: str) -> None:
    """Every device comes to equal its source; `told` stands before what differs where one does not."""
    for worker in workers:
        with worker.open() as device:

            def agrees(device: Device = device) -> bool:
                try:
                    device.sync()
                except (SatchelError, DeviceBusy):
                    return False
                return not differences(device)

            try:
                wait_for(agrees, "the device to agree with the source", seconds=30)
            except AssertionError:
                raise AssertionError(f"{told}: {differences(device)[:5]}") from None


def _wish(edit: Edit) -> Wish:
    """An update by `endlessly`: it sets one attribute."""
    (attribute,) = edit.values
    return Wish(edit.key[0], edit.action.value, attribute, str(edit.values[attribute]))
