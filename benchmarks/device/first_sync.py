"""The first sync of 100,000 contacts: plain and encrypted, the limit and the peers in turn, round after round."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psycopg

from benchmarks import limits, subjects
from benchmarks.data import contacts
from benchmarks.ground.figures import Book
from benchmarks.ground.organization import Contacts, Organization
from benchmarks.ground.processes import cpu_seconds, family
from benchmarks.peers.peer import Peer
from satchel.device import Device, DeviceKey

EXECUTEMANY = "executemany from memory, typed table, 3 indexes after"


class Load(msgspec.Struct, frozen=True):
    """What one first sync came to."""

    rows: int
    seconds: float
    wire_bytes: int
    device_bytes: int
    server_seconds: float
    """Processor time of the sync server."""
    database_seconds: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


def load(organization: Organization, folder: Path, *, is_encrypted: bool, user: str = "someone") -> Load:
    """A new device's first sync; enrolment is not part of it, the device is gone afterwards."""
    key = DeviceKey.from_passphrase("bench") if is_encrypted else None
    pids, database = organization.server_pids(), family(organization.running.pids()["postgres"])
    with Device.enroll(organization.invite(user), folder, key=key, is_encrypted=is_encrypted) as device:
        before, database_before = cpu_seconds(pids), cpu_seconds(database)
        began = time.perf_counter()
        report = device.sync()
        seconds = time.perf_counter() - began
        done, database_done = cpu_seconds(pids), cpu_seconds(database)
        rows, size = report.rows_put, device.status().size_bytes
    shutil.rmtree(folder)
    return Load(rows, seconds, report.bytes_received, size, done - before, database_done - database_before)


def measure(book: Book, scene: Contacts, organization: Organization, peers: Sequence[Peer], rounds: int) -> None:
    """All figures of first syncs."""
    rows = scene.rows
    memory = list(contacts(rows))
    plain, sealed, best = [], [], []
    rates: dict[str, list[float]] = {peer.name: [] for peer in peers}
    load(organization, scene.folder / "warm", is_encrypted=False)
    for number in range(rounds):
        plain.append(load(organization, scene.folder / f"plain{number}", is_encrypted=False))
        best.append(limits.executemany(memory, scene.folder / f"limit{number}.sqlite"))
        sealed.append(load(organization, scene.folder / f"sealed{number}", is_encrypted=True))
        for peer in peers:
            rates[peer.name].append(peer.first_sync())
    assert all(one.rows == rows for one in plain + sealed), [one.rows for one in plain + sealed]
    circumstances = f"{rows:,} rows"
    book.note(subjects.FIRST_SYNC, [one.rate for one in plain], circumstances)
    book.limit(subjects.FIRST_SYNC, best, EXECUTEMANY)
    for name, found in rates.items():
        book.peer(subjects.FIRST_SYNC, name, found)
    book.note(subjects.FIRST_SYNC_RATIO, [one.rate / limit for one, limit in zip(plain, best, strict=True)])
    book.note(subjects.FIRST_SYNC_ENCRYPTED, [one.rate for one in sealed], circumstances)
    book.note(subjects.ENCRYPTED, [one.rate / other.rate for one, other in zip(sealed, plain, strict=True)])
    _costs(book, scene, organization, plain)


def _costs(book: Book, scene: Contacts, organization: Organization, loads: Sequence[Load]) -> None:
    rows = scene.rows
    scale = 100_000 / rows
    book.note(subjects.FIRST_SYNC_CPU, [1000 * scale * one.server_seconds for one in loads])
    book.note(subjects.FIRST_SYNC_DATABASE_CPU, [1000 * scale * one.database_seconds for one in loads])
    book.note(subjects.WIRE_BYTES, [one.wire_bytes / rows for one in loads])
    book.note(subjects.DEVICE_BYTES, [one.device_bytes / rows for one in loads])
    book.note(subjects.SERVER_BYTES, [server_bytes(organization) / rows])
    wire, size = statistics.median(one.wire_bytes for one in loads), statistics.median(o.device_bytes for o in loads)
    files = [limits.raw_files(rows, int(wire), int(size), scene.folder) for _ in range(3)]
    book.limit(subjects.RAW_FILE, files, "one read, one write, one fsync")


def server_bytes(organization: Organization) -> int:
    """What the staging database and the snapshots take, an empty database's own size left out."""
    with psycopg.connect(organization.staging_url()) as connection:
        row = connection.execute(
            "select pg_database_size(current_database()) - pg_database_size('template0')"
        ).fetchone()
    assert row is not None
    objects = organization.running.folder / "objects"
    return int(row[0]) + sum(file.stat().st_size for file in objects.rglob("*") if file.is_file())
