"""Edits reach the source exactly once, whatever is killed: by the word of the source's own audit."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from satchel.device import Device, DeviceKey
from tests.law.test_kill import kill
from tests.support.checker import differences
from tests.support.edits.torment import Kind, Verdicts, Worker, all_agree, come_home
from tests.support.processes import Sandbox, Satchel, sandbox, satchel

EDITS = int(os.environ.get("SATCHEL_TEST_EDITS", "120"))
DEVICES = 3
EDITS_A_KILL = 40
"""What is killed again and again stays away longer and longer."""
AT_ONCE = 60
"""Edit sets on their way."""
PATIENCE_SECONDS = 20.0
SEED = int(os.environ.get("SATCHEL_TEST_SEED", "20261124"))
TEXT = "jobtitle"
pytestmark = [pytest.mark.kill, pytest.mark.timeout(600 + EDITS)]
CONTACTS = Kind("contact", needed="lastname", attributes=(TEXT,))


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


class Torment:
    """Until stopped: connections break, the source throttles, and for every so many edits something is killed, while
    edits are executed."""

    def __init__(self, running: Satchel, source: Sandbox, r: random.Random) -> None:
        self._running, self._source, self._r = running, source, r
        self._seen = 0
        """The newest write of the source that was looked at."""
        self._kills_due = 0
        self._next_kill = EDITS_A_KILL // 2
        self.kills = 0

    def go_on(self, serial: int) -> None:
        """So many edits were made."""
        while serial >= self._next_kill:
            self._next_kill += self._r.randint(EDITS_A_KILL // 2, EDITS_A_KILL * 3 // 2)
            self._kills_due += 1

    def run(self, stop: threading.Event) -> None:
        r = self._r
        while not stop.wait(r.uniform(0.3, 1.5)):
            if self._kills_due > self.kills:
                self._kill(r.choice(["worker", "worker", "sync", "postgres"]))
                self.kills += 1
            self._source.faults(
                drop_after_probability=r.choice([0, 0.3]),
                drop_probability=r.choice([0, 0.1]),
                error_probability=r.choice([0, 0.2]),
                throttle_probability=r.choice([0, 0, 0.1]),
                retry_after_seconds=1,
            )
        self._source.faults(drop_after_probability=0, drop_probability=0, error_probability=0, throttle_probability=0)

    def _kill(self, victim: str) -> None:
        """Just when a write of Satchel's was executed, where there is one in time."""
        self._has_written()
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not self._has_written() and time.monotonic() < give_up_at:
            time.sleep(0.01)
        pid = self._running.pids().get(victim)
        if pid is not None:
            kill(pid)

    def _has_written(self) -> bool:
        news = self._source.get("/sandbox/audit", after=self._seen)
        self._seen = max([self._seen, *(entry["n"] for entry in news)])
        return any(entry["request"] for entry in news)


def keep_up(workers: list[Worker], verdicts: Verdicts) -> None:
    """Let playback come along, so that most edits are executed amid the trouble."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while sum(worker.count() for worker in workers) > AT_ONCE and time.monotonic() < give_up_at:
        for worker in workers:
            worker.settle_all(verdicts)


def others_change(source: Sandbox, r: random.Random, shared: list[str]) -> None:
    """Somebody at the office changes the same rows, also the same attribute."""
    name = r.choice([TEXT, "telephone1", "telephone1"])
    try:
        source.send("PATCH", f"contacts({r.choice(shared)})", json={name: f"office {r.randint(0, 10**9)}"})
    except Exception:
        return  # a fault, or the row is gone


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
            workers.append(Worker(number, CONTACTS, folder, key_file))
            with workers[-1].open() as device:
                device.sync()
        stop = threading.Event()
        torment = Torment(running, source, random.Random(SEED + 1))
        trouble = threading.Thread(target=torment.run, args=(stop,))
        trouble.start()
        verdicts = Verdicts()
        serial = 0
        try:
            while serial < EDITS:
                worker = r.choice(workers)
                with worker.open() as device:
                    for _ in range(r.randint(5, 50)):
                        serial += 1
                        worker.edit(device, r, shared, serial)
                    if r.random() < 0.2:
                        worker.undo_one(device, r, verdicts)
                torment.go_on(serial)
                others_change(source, r, shared)
                if r.random() < 0.3:
                    worker.edit_and_die(r, shared, serial)
                if r.random() < 0.4:
                    worker.sync_and_die(r)
                if r.random() < 0.7:
                    worker.settle_all(verdicts)
                keep_up(workers, verdicts)
        finally:
            stop.set()
            trouble.join()
        come_home(workers, verdicts)
        check(source, user, workers, verdicts)
        print(f"{torment.kills} kills")
        all_agree(workers, lambda device: differences(device, source, user), f"seed {SEED}")


def check(source: Sandbox, user: str, workers: list[Worker], verdicts: Verdicts) -> None:
    """By the audit: what was accepted once, everything else never, in order of each row and device."""
    done = executed(source)
    accepted = refused = uncertain = 0
    order: dict[tuple[int, str], list[int]] = defaultdict(list)
    for worker in workers:
        for set_id, wishes in worker.wishes.items():
            entries = done.get(set_id, [])
            if verdicts.is_refused(set_id):
                home = verdicts.decided.get(set_id)
                is_right = not entries or verdicts.is_uncertain(set_id)
                assert is_right, f"{set_id} came home with {home} and was executed: {entries}"
                refused += 1
                uncertain += verdicts.is_uncertain(set_id)
                continue
            accepted += 1
            for wish in wishes:
                mine = [e for e in entries if e["key"] == wish.key]
                if wish.action == "delete":
                    assert len(mine) <= 1, (wish, mine)  # somebody else may have deleted it first
                    continue
                values = [json.loads(e["attributes"]).get(TEXT) for e in mine]
                assert values.count(wish.value) == 1, f"{set_id} {wish}: executed {mine}"
                assert {e["user"] for e in mine} == {user}
                order[worker.number, wish.key].append(mine[0]["n"])
    for row, numbers in order.items():
        assert numbers == sorted(numbers), f"{row}: out of order {numbers}"
    known = {set_id for worker in workers for set_id in worker.wishes}
    strangers = set(done) - known
    assert not strangers, strangers
    assert accepted > EDITS / 10, (accepted, refused)
    print(f"accepted {accepted}, came home {refused}, uncertain {uncertain}, at {time.strftime('%X')}")
