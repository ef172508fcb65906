"""From ten thousand rows to a million: first sync, device's memory, server's memory, source -> staging."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import subjects
from benchmarks.ground.figures import Book, Curve
from benchmarks.ground.organization import contacts_at
from benchmarks.ground.processes import Peak, megabytes, program, python
from benchmarks.ground.seals import wait_until_sealed
from benchmarks.server.ingest import pull

MILLION = 1_000_000
SIZES = (10_000, 30_000, 100_000, 300_000, MILLION)


class Grown(msgspec.Struct, frozen=True):
    """What one size came to."""

    rows: int
    first_sync: dict[str, Any]
    """As `benchmarks.ground.syncer` tells."""
    ingest: float
    """Rows a second."""
    worker_megabytes: float
    server_growth: float
    """MB, while the device synced."""


def grow(folder: Path, rows: int) -> Grown:
    """An organization of so many rows from the first page to a device that has all."""
    with contacts_at(folder, rows) as scene:
        pids = scene.running.pids()
        with Peak(pids["worker"]) as worker:
            pulled = pull(scene, "everyone", "all")
        organization = pulled.organization
        wait_until_sealed(organization)
        device(organization.invite(), folder / "warm") if rows < MILLION else None
        before = megabytes(pids["sync"])
        with Peak(pids["sync"]) as server:
            found = device(organization.invite(), folder / "device")
        assert found["rows"] == rows, found
        return Grown(rows, found, pulled.rate, worker.megabytes, max(0.0, server.megabytes - before))


def device(link: str, folder: Path) -> dict[str, Any]:
    """A device's first sync in a process of its own."""
    with program(python("benchmarks.ground.syncer", link, folder), folder.with_suffix(".log")) as started:
        found: dict[str, Any] = started.answer(600)
        started.child.wait(30)
    return found


def measure(book: Book, folder: Path, sizes: Sequence[int] = SIZES) -> None:
    """A curve over all sizes, and the figures of a million."""
    grown = [grow(folder / str(rows), rows) for rows in sizes]
    for one in grown:
        if one.rows == MILLION:
            book.note(subjects.MILLION, [one.first_sync["seconds"]])
            book.note(subjects.MILLION_DEVICE, [one.first_sync["peak_megabytes"]])
            book.note(subjects.MILLION_SERVER, [one.server_growth])
            book.note(subjects.MILLION_INGEST, [one.ingest])
            book.note(subjects.MILLION_WORKER, [one.worker_megabytes])
    rates = {
        "first sync": [(one.rows, one.rows / one.first_sync["seconds"]) for one in grown],
        "source -> staging": [(one.rows, one.ingest) for one in grown],
    }
    memory = {
        "device": [(one.rows, one.first_sync["peak_megabytes"]) for one in grown],
        "sync server, growth": [(one.rows, one.server_growth) for one in grown],
        "worker": [(one.rows, one.worker_megabytes) for one in grown],
    }
    book.curve(Curve(name="rows", x="rows", y="rows/s", series=rates))
    book.curve(Curve(name="rows-memory", x="rows", y="memory at most, MB", series=memory, goal=256))
