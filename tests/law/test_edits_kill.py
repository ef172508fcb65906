"""Edits reach the source exactly once, whatever is killed: by the word of the source's own audit."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from satchel.device import Device, DeviceKey, PendingSet, SetState
from satchel.errors import DeviceBusy, EditInvalid, SatchelError
from tests.law.test_kill import kill
from tests.support.checker import differences
from tests.support.processes import Sandbox, Satchel, sandbox, satchel, wait_for

pytestmark = [pytest.mark.kill, pytest.mark.timeout(600)]

EDITS = int(os.environ.get("SATCHEL_TEST_EDITS", "200"))
DEVICES = 3
SEED = int(os.environ.get("SATCHEL_TEST_SEED", "20261124"))
TEXT = "jobtitle"


class Wish(dict[str, Any]):
    """An edit as a test wanted it: device, set id, row, action, and the value that only this edit sets."""


class Worker:
    """A device in the hands of a user who edits, syncs and is interrupted."""

    def __init__(self, number: int, user: str, folder: Path, key_file: Path) -> None:
        self.number, self.user, self.folder, self.key_file = number, user, folder, key_file
        self.wishes: dict[str, list[Wish]] = {}
        self.own: list[str] = []

    @contextmanager
    def open(self) -> Iterator[Device]:
        with Device.open(self.folder, key=DeviceKey.from_file(self.key_file)) as device:
            yield device

    def edit(self, device: Device, r: random.Random, shared: list[str], serial: int) -> None:
        """One transaction of one to three changes, each with a value of its own."""
        wishes: list[Wish] = []
        try:
            with device.edit() as changes:
                for part in range(r.choice([1, 1, 1, 2, 3])):
                    value = f"edit {serial}.{part}"
                    action = r.choice(["update", "update", "update", "update", "create", "delete"])
                    if action == "create":
                        key = changes.create("contact", lastname=value, **{TEXT: value})
                        self.own.append(key)
                    else:
                        key = r.choice(shared + self.own[-20:])
                        if action == "update":
                            changes.update("contact", key, {TEXT: value})
                        elif r.random() < 0.15:
                            changes.delete("contact", key)
                        else:
                            continue
                    wishes = [w for w in wishes if w["key"] != key or w["action"] == "create"]
                    wishes.append(Wish(key=key, action=action, value=value))
        except EditInvalid:
            return  # the row is gone here
        pending = device.pending()
        if pending and wishes:
            self.wishes[pending[-1].id] = wishes


def audit_of(source: Sandbox) -> list[dict[str, Any]]:
    """Every write the source has executed."""
    found: list[dict[str, Any]] = []
    while True:
        page = source.get("/sandbox/audit", after=found[-1]["n"] if found else 0)
        if not page:
            return found
        found += page


def executed(source: Sandbox) -> dict[str, list[dict[str, Any]]]:
    """The writes of contacts, by the edit set they came with."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in audit_of(source):
        if entry["entity"] == "contact" and entry["request"]:
            found[entry["request"]].append(entry)
    return found


def torment(running: Satchel, source: Sandbox, r: random.Random, stop: threading.Event) -> None:
    """Until stopped: kill something, break connections, throttle, and change rows at the source."""
    while not stop.wait(r.uniform(0.5, 2.5)):
        match r.choice(["worker", "worker", "sync", "postgres", "faults", "faults", "calm"]):
            case "faults":
                source.faults(
                    drop_after_probability=r.choice([0, 0.3]),
                    drop_probability=r.choice([0, 0.1]),
                    error_probability=r.choice([0, 0.2]),
                    throttle_probability=r.choice([0, 0.1]),
                    retry_after_seconds=1,
                )
            case "calm":
                source.faults(drop_after_probability=0, drop_probability=0, error_probability=0, throttle_probability=0)
            case victim:
                pid = running.pids().get(victim)
                if pid is not None:
                    kill(pid)
    source.faults(drop_after_probability=0, drop_probability=0, error_probability=0, throttle_probability=0)


def others_change(source: Sandbox, r: random.Random, shared: list[str]) -> None:
    """Somebody at the office changes the same rows, also the same attribute."""
    name = r.choice([TEXT, "telephone1", "telephone1"])
    try:
        source.send("PATCH", f"contacts({r.choice(shared)})", json={name: f"office {r.randint(0, 10**9)}"})
    except Exception:
        return  # a fault, or the row is gone


def settle_all(worker: Worker, decided: dict[str, PendingSet]) -> bool:
    """Sync; note what came home with a verdict and let go of it; True where nothing is on its way."""
    with worker.open() as device:
        try:
            device.sync()
        except (SatchelError, OSError):
            return False
        found = {pending.number: pending for pending in device.pending()}
        for pending in found.values():
            if not pending.state.is_in_effect and any(p.number == pending.number for p in device.pending()):
                for number in device.discard(pending.number, with_dependents=True):
                    decided.setdefault(found[number].id, found[number])
        return not device.pending()


def test_every_edit_is_executed_once_or_comes_home(tmp_path: Path) -> None:
    r = random.Random(SEED)
    key_file = tmp_path / "key"
    key_file.write_text("a key")
    with sandbox(tmp_path, 1500) as source, satchel(tmp_path / "data") as running:
        running.add(source)
        by_owner: dict[str, list[str]] = defaultdict(list)
        for row in source.rows("contacts", **{"$select": "contactid,_ownerid_value"}):
            by_owner[row["_ownerid_value"]].append(row["contactid"])
        user = next(u["id"] for u in source.users if len(by_owner[u["id"]]) >= 15)
        shared = by_owner[user][:15]
        workers = []
        for number in range(DEVICES):
            folder = tmp_path / f"device{number}"
            Device.enroll(running.invite(user), folder, key=DeviceKey.from_file(key_file)).close()
            workers.append(Worker(number, user, folder, key_file))
            with workers[-1].open() as device:
                device.sync()
        stop = threading.Event()
        trouble = threading.Thread(target=torment, args=(running, source, random.Random(SEED + 1), stop))
        trouble.start()
        decided: dict[str, PendingSet] = {}
        discarded: set[str] = set()
        serial = 0
        try:
            while serial < EDITS:
                worker = r.choice(workers)
                with worker.open() as device:
                    for _ in range(r.randint(5, 50)):
                        serial += 1
                        worker.edit(device, r, shared, serial)
                    waiting = [p for p in device.pending() if p.state is SetState.WAITING and p.told == 0]
                    if waiting and r.random() < 0.2:  # undone before anyone heard of it
                        gone = r.choice(waiting)
                        try:
                            device.discard(gone.number)
                            discarded.add(gone.id)
                        except EditInvalid:
                            pass
                others_change(source, r, shared)
                if r.random() < 0.7:
                    settle_all(worker, decided)
        finally:
            stop.set()
            trouble.join()
        for worker in workers:
            wait_for(lambda w=worker: settle_all(w, decided), "all edits to come home", seconds=120)  # type: ignore[misc]
        check(source, workers, decided, discarded)
        for worker in workers:
            with worker.open() as device:

                def agrees(device: Device = device) -> bool:
                    try:
                        device.sync()
                    except (SatchelError, DeviceBusy):
                        return False
                    return not differences(device, source, user)

                try:
                    wait_for(agrees, "the device to agree with the source", seconds=30)
                except AssertionError:
                    raise AssertionError(f"seed {SEED}: {differences(device, source, user)[:5]}") from None


def check(source: Sandbox, workers: list[Worker], decided: dict[str, PendingSet], discarded: set[str]) -> None:
    """By the audit: what was accepted once, everything else never, in order of each row and device."""
    done = executed(source)
    accepted = refused = 0
    order: dict[tuple[int, str], list[int]] = defaultdict(list)
    for worker in workers:
        for set_id, wishes in worker.wishes.items():
            entries = done.get(set_id, [])
            if set_id in decided or set_id in discarded:
                pending = decided.get(set_id)
                is_uncertain = (
                    pending is not None
                    and pending.outcome is not None
                    and any(each.code == "satchel/uncertain" for each in pending.outcome.edits)
                )
                assert not entries or is_uncertain, f"{set_id} came home with {pending} and was executed: {entries}"
                refused += 1
                continue
            accepted += 1
            for wish in wishes:
                mine = [e for e in entries if e["key"] == wish["key"]]
                if wish["action"] == "delete":
                    assert len(mine) <= 1, (wish, mine)  # somebody else may have deleted it first
                    continue
                values = [json.loads(e["attributes"]).get(TEXT) for e in mine]
                assert values.count(wish["value"]) == 1, f"{set_id} {wish}: executed {values}"
                assert {e["user"] for e in mine} == {worker.user}
                order[worker.number, wish["key"]].append(mine[0]["n"])
    for row, numbers in order.items():
        assert numbers == sorted(numbers), f"{row}: out of order {numbers}"
    known = {set_id for worker in workers for set_id in worker.wishes}
    strangers = set(done) - known
    assert not strangers, strangers
    assert accepted > EDITS / 10, (accepted, refused)
    print(f"accepted {accepted}, came home {refused}, at {time.strftime('%X')}")
