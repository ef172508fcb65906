"""A change committed in staging: when a connected device shows it, and what it costs with 190 devices connected."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from benchmarks import subjects
from benchmarks.data import contacts
from benchmarks.ground.crowd import Member
from benchmarks.ground.devices import crowd, register, standing_as
from benchmarks.ground.figures import Book
from benchmarks.ground.organization import Contacts, Inside, Organization, StagingWriter
from benchmarks.ground.processes import Program, cpu_seconds, program, python
from satchel.device import Device

IDLE_DEVICES = 190
SETTLE_SECONDS = 1.0
"""How long after a change processor time still counts for it; the same time without a change is taken off."""
PAUSE_SECONDS = 0.15


def some_row(rows: int) -> dict[str, Any]:
    """A row of the data, to be changed."""
    row: dict[str, Any] = msgspec.to_builtins(next(contacts(rows)))
    return row


def measure(book: Book, scene: Contacts, everyone: Organization, owners: Organization, rounds: int) -> None:
    """All figures of changes."""
    with Inside(scene.running) as inside:
        writer = inside.open(everyone.name)
        _visible(book, scene, everyone, writer, rounds)
        members = standing_as(inside, everyone, scene.folder / "idle", IDLE_DEVICES)
        with crowd(everyone, members, scene.folder) as waiting:
            costs = [cost(everyone, writer, waiting, some_row(scene.rows), n, len(members)) for n in range(rounds)]
        book.note(subjects.CONCERNED, [one[0] for one in costs])
        book.note(subjects.CONCERNED_ALL, [one[1] for one in costs])
        _not_concerned(book, scene, owners, inside, rounds)


def _visible(book: Book, scene: Contacts, organization: Organization, writer: StagingWriter, rounds: int) -> None:
    row, folder = some_row(scene.rows), scene.folder / "watching"
    Device.enroll(organization.invite(), folder, is_encrypted=False).close()
    with program(python("benchmarks.ground.watcher", folder, row["id"], "jobtitle"), scene.folder / "w.log") as watcher:
        watcher.answer()
        waits = [_arrival(writer, watcher, row, f"visible {number}") for number in range(20 * rounds)][rounds:]
    waits.sort()
    runs = f"{len(waits)} changes"
    book.note(subjects.VISIBLE_MEDIAN, waits, runs)
    book.note(subjects.VISIBLE_P95, [waits[int(len(waits) * 0.95)]], runs)


def _arrival(writer: StagingWriter, watcher: Program, row: dict[str, Any], value: str) -> float:
    """Milliseconds from the commit to the device."""
    time.sleep(PAUSE_SECONDS)
    writer.change([{**row, "jobtitle": value}])
    seen = watcher.answer()
    assert seen["value"] == value, seen
    return 1000 * float(seen["moment"] - writer.committed_at)


def cost(
    organization: Organization, writer: StagingWriter, waiting: Program, row: dict[str, Any], number: int, expected: int
) -> tuple[float, float]:
    """Milliseconds of the sync server's processor time for one change, and until the last device has it."""
    pids = organization.server_pids()
    waiting.ask("what came before")
    time.sleep(SETTLE_SECONDS)
    before = cpu_seconds(pids)
    time.sleep(SETTLE_SECONDS)
    idle = cpu_seconds(pids) - before
    before = cpu_seconds(pids)
    writer.change([{**row, "jobtitle": f"cost {number}"}])
    time.sleep(SETTLE_SECONDS)
    spent = cpu_seconds(pids) - before
    arrivals = waiting.ask("what came")
    if expected:
        give_up_at = time.monotonic() + 30
        while len(arrivals) < expected and time.monotonic() < give_up_at:
            time.sleep(PAUSE_SECONDS)
            spent = cpu_seconds(pids) - before
            arrivals += waiting.ask("what came since")
        assert len({one["member"] for one in arrivals}) == expected, len(arrivals)
    last = max((one["moment"] for one in arrivals), default=writer.committed_at)
    return 1000 * max(0.0, spent - idle), 1000 * (last - writer.committed_at)


def _not_concerned(book: Book, scene: Contacts, owners: Organization, inside: Inside, rounds: int) -> None:
    """The change is to a row of one owner, the devices are of other owners."""
    row = some_row(scene.rows)
    others = sorted({contact.owner for contact in contacts(scene.rows)} - {row["owner"]})[:IDLE_DEVICES]
    users = [others[number % len(others)] for number in range(IDLE_DEVICES)]
    members = [Member(token) for _, token in register(inside, owners, users)]
    writer = inside.open(owners.name)
    with crowd(owners, members, scene.folder) as waiting:
        costs = [cost(owners, writer, waiting, row, number, 0) for number in range(rounds)]
    book.note(subjects.NOT_CONCERNED, [one[0] for one in costs])
