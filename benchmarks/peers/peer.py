"""What a peer is to the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import msgspec

from benchmarks.data import Contact

CACHE = Path(__file__).parents[2] / ".cache" / "bench"


class Costs(msgspec.Struct, kw_only=True):
    """What a peer costs besides time; None: it has no such thing."""

    wire_bytes: float | None = None
    """A row."""
    device_bytes: float | None = None
    server_bytes: float | None = None
    server_megabytes: float | None = None
    first_sync_ms: float | None = None
    """Processor time of the server for one first sync."""
    polls: float | None = None
    """A second, nothing new, 50 connections."""
    ingest: float | None = None
    """Rows a second into the server's store, as the server says or as its own client loads them."""
    visible_ms: list[float] = []
    """From a change at the server until a connected client has it."""


class Peer(Protocol):
    """One product, running, with all rows in it."""

    name: str
    """With its version."""
    about: str
    """How it is run: store, client, transport."""

    def first_sync(self) -> float:
        """Rows a second of a new client of its own."""

    def costs(self) -> Costs:
        """All else."""


class Maker(Protocol):
    """Installs and starts a peer for the length of a block."""

    def __call__(self, rows: Sequence[Contact], folder: Path) -> AbstractContextManager[Peer]:
        """Errors: any; the table then says why it was not run."""
