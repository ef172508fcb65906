"""The offline lease: how long data may be read without the server being heard.

It binds this software, not someone who has both the key and a copy of the folder. Time is the latest that was ever
seen since the server was heard, so that a clock that is set back does not make the lease longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import apsw
import msgspec

from satchel.device.store import Store
from satchel.errors import LeaseEnded, SatchelError
from satchel.protocol.messages import Lease

ERASE = "erase"
NOTE_SECONDS = 60.0
_STATE = "lease"
_CLEANING = "lease_cleaning"


class Clock(msgspec.Struct, frozen=True):
    """What a device measures time by."""

    now: Callable[[], float] = time.time
    """Seconds since 1970; may be set by people."""
    ticks: Callable[[], float] = time.monotonic
    """Seconds that only go forward."""


SYSTEM_CLOCK = Clock()


class LeaseState(msgspec.Struct, frozen=True):
    """The lease as the device keeps it."""

    seconds: int
    action: str
    heard_at: float
    """When the server was heard, by the device's clock."""
    seen_at: float
    """The latest time seen since."""

    @property
    def ends_at(self) -> float:
        """When it ends."""
        return self.heard_at + self.seconds

    @property
    def ends(self) -> str:
        """When it ends, ISO 8601, UTC."""
        try:
            return datetime.fromtimestamp(self.ends_at, UTC).isoformat(timespec="seconds")
        except (OverflowError, ValueError, OSError):
            return "9999-12-31T23:59:59+00:00"


def read_lease(store: Store) -> LeaseState | None:
    """The lease, where there is one."""
    text = store.get(_STATE)
    return msgspec.json.decode(text, type=LeaseState) if text else None


def renew_lease(store: Store, told: Lease | None, now: float) -> None:
    """The server was heard: the lease begins anew, in the caller's transaction. Not told: it is as it was."""
    known = read_lease(store)
    lease = told or (Lease(known.seconds, known.action) if known else None)
    if lease is None or lease.seconds <= 0:
        store.set(_STATE, None)
    else:
        _write(store, LeaseState(lease.seconds, lease.action, heard_at=now, seen_at=now))


class LeaseGuard:
    """Says at each read whether the lease has ended, for a process that stays open and in any number of them."""

    def __init__(self, reader: Store, writer: Store, clock: Clock) -> None:
        """The reader's connection shows what other processes wrote; the writer's takes notes of the time."""
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._last: LeaseState | None = None
        self._began_at = self._began_ticks = 0.0

    def ended(self) -> LeaseState | None:
        """The lease, where it has ended. Cost: one small read, and now and then a note of the time."""
        state = read_lease(self._reader)
        if state is None:
            return None
        moment = self._moment(state)
        has_ended = moment >= state.ends_at
        if moment - state.seen_at >= NOTE_SECONDS or (has_ended and state.seen_at < state.ends_at):
            self._note(state, moment)
        return state if has_ended else None

    def erase(self) -> None:
        """Drop all data and keep the enrolment and what the user entered; again is harmless. The caller holds the lock.

        One transaction drops it, zeros in its place; then the file is cut and the log emptied. A process killed before
        that goes on with it at the next open. Errors: DataFolderUnusable, StoreBusy.
        """
        store = self._writer
        store.connection.pragma("secure_delete", True)
        with store.transaction() as connection:
            store.set(_CLEANING, "1")
            store.drop_data(connection)
        self.clean()

    def clean(self) -> None:
        """Give what was dropped back to the disk, unless another process reads just now: then the next time."""
        if self._writer.get(_CLEANING) and self._writer.compact():
            with self._writer.transaction():
                self._writer.set(_CLEANING, None)

    @property
    def must_clean(self) -> bool:
        """Data was dropped, but traces of it may be left in the files."""
        return self._reader.get(_CLEANING) is not None

    def _moment(self, state: LeaseState) -> float:
        now, ticks = self._clock.now(), self._clock.ticks()
        last, self._last = self._last, state
        if last is None or state.heard_at != last.heard_at or state.seen_at < last.seen_at:  # the first look at it
            self._began_at, self._began_ticks = max(now, state.seen_at), ticks
        return max(now, state.seen_at, self._began_at + ticks - self._began_ticks)

    def _note(self, seen: LeaseState, moment: float) -> None:
        """Keep the time for the next process. While another one writes there is no need: what it writes is later."""
        store = self._writer
        if not store.connection.get_autocommit():
            return
        try:
            with store.impatient(), store.transaction():
                if read_lease(store) == seen:  # not renewed meanwhile
                    _write(store, msgspec.structs.replace(seen, seen_at=moment))
        except (apsw.Error, SatchelError):
            return  # a full disk, or another process writes: the next read tries again


def lease_ended(state: LeaseState) -> LeaseEnded:
    """What a read is refused with."""
    if state.action == ERASE:
        return LeaseEnded(
            f"The offline lease has ended on {state.ends} and the data was erased; sync to load it again."
        )
    return LeaseEnded(f"The offline lease has ended on {state.ends}; sync to unlock.")


def _write(store: Store, state: LeaseState) -> None:
    store.set(_STATE, msgspec.json.encode(state).decode())
