"""An organization moves between two PostgreSQL servers while devices sync and edit, and while everything is killed."""

from __future__ import annotations

import os
import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from satchel.device import Device, DeviceKey
from satchel.errors import SatchelError
from tests.law.edits.test_kill import executed
from tests.law.test_kill import kill
from tests.support.checker import differences
from tests.support.debian_postgres import DebianPostgres
from tests.support.processes import Sandbox, Satchel, sandbox, satchel, wait_for
from tests.support.stalls import Stall

ROUNDS = int(os.environ.get("SATCHEL_TEST_MOVES", "3"))
SEED = int(os.environ.get("SATCHEL_TEST_SEED", "20261128"))
KEY = DeviceKey.from_passphrase("a passphrase")
long = pytest.mark.skipif("SATCHEL_TEST_PLACES" not in os.environ, reason="minutes long: SATCHEL_TEST_PLACES=1")
pytestmark = [pytest.mark.kill, pytest.mark.timeout(300 + 60 * ROUNDS)]
BEFORE_THE_SWITCH = """
create function satchel.stall() returns trigger language plpgsql as
    $$ begin perform pg_advisory_xact_lock(7); return new; end $$;
create trigger stall before update on satchel.move for each row when (new.state = 'switched')
    execute function satchel.stall();
commit;
select pg_advisory_lock(7)
"""
PACE_SECONDS = 0.3
"""Between two edits of a device: often enough that every step meets some."""
STEPS = (
    # Where, what the test holds, the statement that then waits, and whom the long test kills there.
    ("from", "lock table satchel.version in access exclusive mode", "copy (%", ""),
    ("from", "lock table satchel.member in row exclusive mode", "lock table %", "worker"),
    ("from", "create table satchel.satchel_moved ()", 'create table "satchel"."satchel_moved"%', "postgres"),
    ("control", BEFORE_THE_SWITCH, "%set state = 'switched'%", "sync"),
    ("to", "lock table satchel_copy.copy in access share mode", "drop schema%", "postgres"),
    ("from", "lock table satchel.satchel_moved in access exclusive mode", "select move from satchel.satchel_moved", ""),
)
UNKNOWN = "not known: the server was just killed"


class Editing(threading.Thread):
    """A device that edits and syncs until it is told to end, and counts what failed."""

    def __init__(self, folder: Path, rows: list[str]) -> None:
        super().__init__()
        self.folder, self.rows = folder, rows
        self.stop = threading.Event()
        self.made: dict[str, str] = {}
        self.fails = self.syncs = self.longest = 0

    def run(self) -> None:
        row_by_turn, in_a_row = 0, 0
        while not self.stop.wait(PACE_SECONDS):
            with Device.open(self.folder, key=KEY) as device:
                key = self.rows[row_by_turn % len(self.rows)]
                row_by_turn += 1
                with device.edit() as changes:
                    changes.update("contact", key, jobtitle=f"{self.folder.name} {row_by_turn}")
                self.made[device.pending()[-1].id] = f"{self.folder.name} {row_by_turn}"
                try:
                    device.sync()
                    self.syncs, in_a_row = self.syncs + 1, 0
                except SatchelError:
                    self.fails, in_a_row = self.fails + 1, in_a_row + 1
                    self.longest = max(self.longest, in_a_row)


def place_of(running: Satchel, name: str = "contoso") -> str:
    return str(running.json("org", "list")[0]["server"])


def databases(*servers: DebianPostgres) -> list[list[object]]:
    """The staging databases on each server."""
    query = "select datname from pg_database where datname like 'satchel\\_%' order by 1"
    return [[row[0] for row in server.query("postgres", query)] for server in servers]


@pytest.fixture
def west(tmp_path: Path) -> Iterator[DebianPostgres]:
    with DebianPostgres(tmp_path / "west") as server:
        yield server


def progress(running: Satchel) -> str:
    """How far the move is, as the control database says it."""
    assert running.separate is not None
    try:
        rows = running.separate.postgres.query(
            "satchel", "select state || ' ' || coalesce(progress, '') from satchel.move"
        )
    except psycopg.OperationalError:
        return UNKNOWN
    return str(rows[0][0]) if rows else ""


def devices(running: Satchel, source: Sandbox, folder: Path, count: int) -> tuple[str, list[Editing]]:
    by_owner: dict[str, list[str]] = defaultdict(list)
    for row in source.rows("contacts", **{"$select": "contactid,_ownerid_value"}):
        by_owner[row["_ownerid_value"]].append(row["contactid"])
    user = next(u["id"] for u in source.users if len(by_owner[u["id"]]) >= 5 * count)
    found = []
    for number in range(count):
        Device.enroll(running.invite(user), folder / f"device{number}", key=KEY).close()
        rows = by_owner[user][number * 5 : number * 5 + 5]
        found.append(Editing(folder / f"device{number}", rows))
        with Device.open(found[-1].folder, key=KEY) as device:
            device.sync()
    return user, found


@long
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_move_that_breaks_at_each_of_its_steps_goes_on_behind_the_last(
    tmp_path: Path, west: DebianPostgres, is_killed: bool
) -> None:
    servers = f'{{"west": "{west.url}"}}'
    with (
        sandbox(tmp_path, 1000) as source,
        satchel(tmp_path / "data", is_separate=True, SATCHEL_STAGING__SERVERS=servers) as running,
    ):
        assert running.separate is not None
        east = running.separate.postgres
        running.add(source)
        user, (worker,) = devices(running, source, tmp_path, 1)
        name = str(databases(west)[0][0])
        places = {"from": (west, name), "to": (east, name), "control": (east, "satchel")}
        stalls = [Stall(*places["from"], *STEPS[0][1:3])]
        worker.start()
        try:
            running.run("org", "move", "contoso", "default")
            for number, (_, _, stopped, victim) in enumerate(STEPS):
                wait_for(stalls[number].is_reached, f"the move to come to: {stopped}", 90)
                if is_killed:
                    for each in {"provisioning", victim} & running.pids().keys():
                        kill(running.pids()[each])
                    wait_for(lambda: progress(running) != UNKNOWN, "the server to be back")
                if number + 1 < len(STEPS):
                    where, holding, query, _ = STEPS[number + 1]
                    stalls.append(Stall(*places[where], holding, query))
                assert is_killed or stalls[number].cut()
                stalls[number].let_go()
            wait_for(lambda: progress(running) == "", "the move to end", 90)
        finally:
            worker.stop.set()
            worker.join()
            for stall in stalls:
                stall.let_go()
        assert (place_of(running), databases(west, east)) == ("default", [[], [name]])
        check(worker, source, user)


@long
def test_a_move_loses_and_doubles_nothing_whatever_is_killed(tmp_path: Path, west: DebianPostgres) -> None:
    r = random.Random(SEED)
    servers = f'{{"west": "{west.url}"}}'
    with (
        sandbox(tmp_path, 2000) as source,
        satchel(tmp_path / "data", is_separate=True, SATCHEL_STAGING__SERVERS=servers) as running,
    ):
        assert running.separate is not None
        east = running.separate.postgres
        running.add(source)
        assert place_of(running) == "west"  # new ones live on the servers that are named
        user, workers = devices(running, source, tmp_path, 2)
        epoch = west.query(str(databases(west)[0][0]), "select epoch from satchel.head")
        for worker in workers:
            worker.start()
        try:
            for turn in range(ROUNDS):
                source.mutate(50, seed=SEED + turn)
                goal = "default" if turn % 2 == 0 else "west"
                running.run("org", "move", "contoso", goal)
                # Turn 0 is left alone; later ones are killed where they are, any moment within a step.
                wanted = ["", "copying the rest", "switched", "copied"][turn % 4]
                if wanted:
                    wait_for(
                        lambda w=wanted: w in progress(running) or not progress(running), f"the move to be {wanted}"
                    )
                    for victim in r.sample(["provisioning", "worker", "sync", "postgres"], 2):
                        kill(running.pids().get(victim) or 0) if running.pids().get(victim) else None
                wait_for(lambda: progress(running) == "", f"move {turn} to end (seed {SEED})", 120)
                assert place_of(running) == goal
        finally:
            for worker in workers:
                worker.stop.set()
            for worker in workers:
                worker.join()
        home, other = (east, west) if place_of(running) == "default" else (west, east)
        here, there = databases(home, other)
        assert len(here) == 1, here
        assert there == []
        assert home.query(str(here[0]), "select epoch from satchel.head") == epoch
        for worker in workers:
            check(worker, source, user)


def check(worker: Editing, source: Sandbox, user: str) -> None:
    """Every edit was executed once, in the order it was made; the device holds exactly what its user may see."""
    with Device.open(worker.folder, key=KEY) as device:

        def is_home() -> bool:
            try:
                device.sync()
            except SatchelError:
                return False
            return not device.pending() and not differences(device, source, user)

        wait_for(is_home, f"{worker.folder.name} to agree", 60)
    written = executed(source)
    counts = {value: len(written.get(set_id, [])) for set_id, value in worker.made.items()}
    assert {value: n for value, n in counts.items() if n != 1} == {}
    assert worker.syncs > 3
