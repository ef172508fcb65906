"""Where one organization stands, what moved last, and which devices that concerns.

A device whose buckets nothing touched is current although its checkpoint lies behind the head: its cursor stays good,
and it is not woken. What is not known - before this process looked, or longer ago than it remembers - counts as
something new, so that a lost notification or a restart costs a look at the database, never data.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Iterator

import msgspec

from satchel.model.ids import BucketId, OpId
from satchel.model.packing import unpack_buckets
from satchel.staging.head import Head
from satchel.sync.cursor import CursorState

REMEMBERED_MOVES = 2_000
REMEMBERED_BUCKETS = 200_000
REMEMBERED_SECONDS = 3_600.0
"""Then a device gets a new cursor, also where nothing concerned it: cursors do not fall behind what is retained."""
REMEMBERED_VERDICTS = 20_000
_UNKNOWN = OpId(-1)
HELD_SETS_BYTES = 4 * 1024 * 1024
"""Of the packed bucket sets that are kept unpacked, some ten times as large."""


class Move(msgspec.Struct, frozen=True):
    """Ops of one transaction: those behind `since`, up to `op`."""

    since: OpId
    op: OpId
    buckets: frozenset[BucketId]
    at: float
    """Monotonic seconds."""


class Held:
    """The buckets that devices with one and the same set hold. Nothing touched them in (`quiet_from`, `quiet_to`]."""

    def __init__(self, packed: bytes, quiet_from: OpId) -> None:
        """The set, as cursors carry it."""
        self.buckets = array("q", unpack_buckets(packed))
        self.quiet_from = self.quiet_to = quiet_from
        self.waiting: set[Waiter] = set()

    def is_touched(self, buckets: frozenset[BucketId]) -> bool:
        """One of these is held. Cost: of the smaller side."""
        mine = self.buckets
        if len(buckets) * 4 >= len(mine):
            return not buckets.isdisjoint(mine)
        return any((at := bisect_left(mine, bucket)) < len(mine) and mine[at] == bucket for bucket in buckets)


class Waiter(msgspec.Struct, eq=False):
    """A device that waits for something new."""

    woken: asyncio.Future[bool]
    device_id: str


class Standing:
    """What this process knows of an organization."""

    def __init__(self, head: Head) -> None:
        """Nothing is known of what moved before."""
        self.head = head
        self._moves: deque[Move] = deque()
        self._moves_from = head.op
        self._bucket_count = 0
        self._verdicts: dict[str, int] = {}
        self._verdicts_from = head.verdict
        self._held: OrderedDict[bytes, Held] = OrderedDict()
        self._held_bytes = 0
        self._by_device: dict[str, set[Waiter]] = {}

    def take(self, head: Head) -> None:
        """A newer head: wake those whom it concerns. An older one (a late notification) is dropped."""
        known = self.head
        if head.epoch == known.epoch:
            now, before = (head.op, head.binding, head.verdict), (known.op, known.binding, known.verdict)
            if now < before or (now == before and head.model_digest == known.model_digest):
                return
        self.head = head
        concerns_all = head.epoch != known.epoch or head.binding != known.binding
        concerns_all |= head.model_digest != known.model_digest
        buckets = self._take_ops(known, head)
        devices = self._take_verdicts(known, head)
        if concerns_all or buckets is None or devices is None:
            self.wake_all()
            return
        if buckets:
            for held in list(self._held.values()):
                if held.waiting and held.is_touched(buckets):
                    _wake(held.waiting)
        for device in devices:
            self.wake_device(device)

    def first_concern(self, state: CursorState, device_id: str) -> OpId | None:
        """The op behind which lies the first change that this device does not have; None: it is current.

        -1: it is not known, or there is more to it than changes of rows.
        """
        head = self.head
        if state.verdict != head.verdict and (
            state.verdict < self._verdicts_from or self._verdicts.get(device_id, 0) > state.verdict
        ):
            return _UNKNOWN
        if state.checkpoint == head.op:
            return None
        self._forget_old(time.monotonic())
        if not self._moves_from <= state.checkpoint < head.op:
            return _UNKNOWN
        held = self.held(state.held)
        if state.checkpoint >= held.quiet_from:
            return None
        moves = (move for move in self._moves if move.op > state.checkpoint and held.is_touched(move.buckets))
        return next((move.since for move in moves), _UNKNOWN)

    def held(self, packed: bytes) -> Held:
        """The set of buckets, compared with everything that moved."""
        held = self._held.get(packed)
        if held is None:
            held = self._held[packed] = Held(packed, OpId(self._moves_from))
            self._held_bytes += len(packed)
            self._drop_held()
        else:
            self._held.move_to_end(packed)
        if held.quiet_to < self._moves_from:  # moves in between are forgotten
            held.quiet_from = held.quiet_to = OpId(self._moves_from)
        if held.quiet_to < self.head.op:
            for move in self._behind(held.quiet_to):
                if held.is_touched(move.buckets):
                    held.quiet_from = move.op
                    break
            held.quiet_to = OpId(self.head.op)
        return held

    def touched_behind(self, op: OpId) -> set[BucketId]:
        """All buckets touched behind an op."""
        return {bucket for move in self._behind(op) for bucket in move.buckets}

    async def wait(self, state: CursorState, device_id: str, seconds: float) -> bool:
        """Wait until something concerns this device; False where the time ran out."""
        loop = asyncio.get_running_loop()
        waiter = Waiter(loop.create_future(), device_id)
        held = self.held(state.held)
        of_device = self._by_device.setdefault(device_id, set())
        held.waiting.add(waiter)
        of_device.add(waiter)
        timer = loop.call_later(seconds, _end, waiter, False)
        try:
            return await waiter.woken
        finally:
            timer.cancel()
            held.waiting.discard(waiter)
            of_device.discard(waiter)
            if not of_device and self._by_device.get(device_id) is of_device:
                del self._by_device[device_id]

    def wake_device(self, device_id: str) -> None:
        """Let a device look again."""
        _wake(self._by_device.get(device_id, set()))

    def wake_all(self) -> None:
        """Let everyone look again."""
        for waiting in list(self._by_device.values()):
            _wake(waiting)

    def _take_ops(self, known: Head, head: Head) -> frozenset[BucketId] | None:
        """The buckets that moved; None: not known."""
        if head.epoch == known.epoch and head.op == known.op:
            return frozenset()
        if head.epoch != known.epoch or head.moved_from != known.op or head.moved_buckets is None:
            self._moves.clear()
            self._bucket_count, self._moves_from = 0, head.op
            return None
        move = Move(known.op, head.op, frozenset(unpack_buckets(head.moved_buckets)), time.monotonic())
        self._moves.append(move)
        self._bucket_count += len(move.buckets)
        self._forget_old(move.at)
        return move.buckets

    def _forget_old(self, now: float) -> None:
        moves = self._moves
        while moves and (
            len(moves) > REMEMBERED_MOVES
            or self._bucket_count > REMEMBERED_BUCKETS
            or moves[0].at < now - REMEMBERED_SECONDS
        ):
            gone = moves.popleft()
            self._bucket_count -= len(gone.buckets)
            self._moves_from = gone.op

    def _take_verdicts(self, known: Head, head: Head) -> list[str] | None:
        """The devices that got verdicts; None: not known."""
        if head.epoch == known.epoch and head.verdict == known.verdict:
            return []
        is_known = head.epoch == known.epoch and head.verdicts_from == known.verdict
        if not is_known or head.verdict_devices is None or len(self._verdicts) > REMEMBERED_VERDICTS:
            self._verdicts.clear()
            self._verdicts_from = head.verdict
            return None
        self._verdicts |= dict.fromkeys(head.verdict_devices, head.verdict)
        return head.verdict_devices

    def _behind(self, op: OpId) -> Iterator[Move]:
        """Moves behind an op, newest first."""
        for move in reversed(self._moves):
            if move.op <= op:
                return
            yield move

    def _drop_held(self) -> None:
        """Forget the sets that nobody asked for longest, but for those somebody waits with."""
        for packed in list(self._held)[:-1] if self._held_bytes > HELD_SETS_BYTES else ():
            if not self._held[packed].waiting:
                del self._held[packed]
                self._held_bytes -= len(packed)
            if self._held_bytes <= HELD_SETS_BYTES:
                return


def _wake(waiting: set[Waiter]) -> None:
    for waiter in waiting:
        _end(waiter, True)


def _end(waiter: Waiter, is_concerned: bool) -> None:
    if not waiter.woken.done():
        waiter.woken.set_result(is_concerned)
