"""All peers: started where they start, and what they come to as cells of the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import subjects
from benchmarks.data import Contact
from benchmarks.ground.figures import Book, Subject
from benchmarks.peers.kinto import Kinto, kinto
from benchmarks.peers.peer import Costs, Maker, Peer
from benchmarks.peers.pouchdb import PouchDB, pouchdb
from benchmarks.peers.zero import Zero, zero

MAKERS: dict[str, Maker] = {"Kinto": kinto, "express-pouchdb": pouchdb, "Zero": zero}
ABOUT = [Kinto.about, PouchDB.about, Zero.about]
_SUBJECTS: dict[str, Subject] = {
    "wire_bytes": subjects.WIRE_BYTES,
    "device_bytes": subjects.DEVICE_BYTES,
    "server_bytes": subjects.SERVER_BYTES,
    "server_megabytes": subjects.MEMORY,
    "first_sync_ms": subjects.FIRST_SYNC_CPU,
    "polls": subjects.POLLS,
    "ingest": subjects.INGEST,
}


@contextmanager
def running(
    makers: Mapping[str, Maker], rows: Sequence[Contact], folder: Path
) -> Iterator[tuple[list[Peer], dict[str, str]]]:
    """All peers that start, and why others do not."""
    found: list[Peer] = []
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        for name, make in makers.items():
            try:
                found.append(stack.enter_context(make(rows, folder / name)))
            except Exception as error:  # a peer that fails is a cell of the table, not the end of the run
                absent[name] = f"not run: {type(error).__name__}: {' '.join(str(error).split())[-200:]}"
        yield found, absent


def note(book: Book, peers: Sequence[Peer], absent: Mapping[str, str]) -> None:
    """What each peer comes to besides the first sync."""
    for name, reason in absent.items():
        book.peer(subjects.FIRST_SYNC, name, reason)
    for peer in peers:
        try:
            costs = peer.costs()
        except Exception as error:  # as above
            book.peer(subjects.WIRE_BYTES, peer.name, f"not measured: {type(error).__name__}: {str(error)[-200:]}")
            continue
        _note(book, peer.name, costs)


def _note(book: Book, name: str, costs: Costs) -> None:
    for field, subject in _SUBJECTS.items():
        value = getattr(costs, field)
        if value is not None:
            book.peer(subject, name, [value])
    if costs.visible_ms:
        waits = sorted(costs.visible_ms)
        book.peer(subjects.VISIBLE_MEDIAN, name, waits)
        book.peer(subjects.VISIBLE_P95, name, [waits[int(len(waits) * 0.95)]])
