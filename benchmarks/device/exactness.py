"""What must not happen: rows that stay although the user may no longer have them, rows that are read for nothing."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from benchmarks import subjects
from benchmarks.data import contacts
from benchmarks.ground.figures import Book
from benchmarks.ground.organization import Contacts, Inside, Organization
from benchmarks.ground.seals import wait_until_sealed
from satchel.device import Device

UPDATES, EVERY = 3, 10


def measure(book: Book, scene: Contacts, everyone: Organization, owners: Organization) -> None:
    """Both figures."""
    _revoked(book, scene, owners)
    _dead(book, scene, everyone)


def _revoked(book: Book, scene: Contacts, owners: Organization) -> None:
    """All rows of a user but one go to another owner while an edit of that one waits, the worker stopped."""
    rows = list(contacts(scene.rows))
    user, other = rows[0].owner, next(contact.owner for contact in rows if contact.owner != rows[0].owner)
    kept, *lost = [contact for contact in rows if contact.owner == user]
    folder = scene.folder / "revoked"
    with Inside(scene.running) as inside, Device.enroll(owners.invite(user), folder, is_encrypted=False) as device:
        device.sync()
        held = _held(device)
        assert held == 1 + len(lost), held
        with stopped(scene.running.pids()["worker"]):
            device.update("contacts", kept.id, jobtitle="waits")
            inside.open(owners.name).change([{**msgspec.to_builtins(contact), "owner": other} for contact in lost])
            device.sync()
            assert device.pending(), "the edit did not wait"
            left = _held(device) - 1
    shutil.rmtree(folder)
    book.note(subjects.REVOKED, [left], f"{len(lost)} rows revoked")


def _held(device: Device) -> int:
    return int(device.sql("select count(*) as held from contacts")[0]["held"])


def _dead(book: Book, scene: Contacts, everyone: Organization) -> None:
    """Every tenth row changes three times; then a device comes that has nothing."""
    for number in range(UPDATES):
        scene.http.post("/change", params={"every": EVERY, "mark": f"update {number}"}).raise_for_status()
        everyone.pull()
    wait_until_sealed(everyone)
    folder = scene.folder / "dead"
    with Device.enroll(everyone.invite(), folder, is_encrypted=False) as device:
        report = device.sync()
        updated = device.sql("select count(*) as held from contacts where jobtitle = ?", [f"update {UPDATES - 1}"])
    shutil.rmtree(folder)
    assert updated[0]["held"] == -(-scene.rows // EVERY), updated
    book.note(subjects.DEAD_OPS, [100 * (report.rows_put - scene.rows) / scene.rows], f"{report.rows_put:,} rows read")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
