"""Where one organization stands, what moved last, and which devices that concerns.

A device whose buckets nothing touched is current although its checkpoint lies behind the head: its cursor stays good,
and it is not woken. What is not known - before this process looked, or longer ago than it remembers - counts as
something new, so that a lost notification or a restart costs a look at the database, never data.

Where principals changed or buckets were made, somebody reads once for all what that comes to (`settling`): until then
those who wait go on waiting, and whoever comes waits for it.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

import msgspec

from satchel.buckets.families import BucketKey
from satchel.model.ids import BucketId, OpId
from satchel.model.packing import unpack_buckets
from satchel.model.scope import Scope
from satchel.model.user import User
from satchel.staging.head import Head
from satchel.staging.users import Users
from satchel.sync.cursor import CursorState
from satchel.sync.made import MadeBuckets
from satchel.sync.step import Caller

REMEMBERED_MOVES = 2_000
REMEMBERED_BUCKETS = 200_000
REMEMBERED_SECONDS = 3_600.0
"""Then a device gets a new cursor, also where nothing concerned it: cursors do not fall behind what is retained."""
REMEMBERED_VERDICTS = 20_000
REMEMBERED_MADE = 5_000
"""Buckets whose keys are kept."""
_CHECKED_AT_ONCE = 200
_UNKNOWN = OpId(-1)
HELD_SETS_BYTES = 4 * 1024 * 1024
"""Of the packed bucket sets that are kept unpacked, some ten times as large."""


class Move(msgspec.Struct, frozen=True):
    """Ops of one transaction: those behind `since`, up to `op`."""

    since: OpId
    op: OpId
    buckets: frozenset[BucketId]
    made: frozenset[BucketId]
    """Those of them that were not there before."""
    at: float
    """Monotonic seconds."""


class Checked(msgspec.Struct, frozen=True):
    """No bucket made in (`since`, `to`] is this user's."""

    user: User
    since: OpId
    to: OpId


class Held:
    """The buckets that devices with one and the same set hold. Nothing touched them in (`quiet_from`, `quiet_to`]."""

    def __init__(self, packed: bytes, quiet_from: OpId) -> None:
        """The set, as cursors carry it."""
        self.buckets = array("q", unpack_buckets(packed))
        self.quiet_from = self.quiet_to = quiet_from
        self.waiting: set[Waiter] = set()
        self.checked: dict[str, Checked] = {}
        """By user."""

    def __contains__(self, bucket: object) -> bool:
        """A bucket's id, as text."""
        return isinstance(bucket, str) and self.is_touched(frozenset((BucketId(int(bucket)),)))

    def is_touched(self, buckets: frozenset[BucketId]) -> bool:
        """One of these is held. Cost: of the smaller side."""
        mine = self.buckets
        if len(buckets) * 4 >= len(mine):
            return not buckets.isdisjoint(mine)
        return any((at := bisect_left(mine, bucket)) < len(mine) and mine[at] == bucket for bucket in buckets)


class Waiter(msgspec.Struct, eq=False):
    """A device that waits for something new."""

    woken: asyncio.Future[bool]
    state: CursorState
    caller: Caller


class Standing:
    """What this process knows of an organization."""

    def __init__(self, head: Head, users: Users | None = None, unsettled: Callable[[], object] = lambda: None) -> None:
        """Nothing is known of what moved before. `unsettled` is called where somebody waits for what is to be read."""
        self.head = head
        self.users = users or Users()
        self.made = MadeBuckets()
        self._unsettled = unsettled
        self._made_op = head.op
        self._made_count = 0
        self._unread: set[BucketId] = set()
        self._strangers: set[str] = set()
        self._wakes = 0
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
        concerns_all = head.epoch != known.epoch or head.model_digest != known.model_digest
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
        if self._by_device and not self.is_settled:
            self._unsettled()

    @property
    def is_settled(self) -> bool:
        """What came of the newest head was read."""
        return not self._unread and self.users.is_settled(self.head)

    @property
    def has_strangers(self) -> bool:
        """Somebody waits of whom it could not be told whether a change of principals is theirs."""
        return bool(self._strangers)

    def take_strangers(self) -> set[str]:
        """The users of those; they are asked for once."""
        strangers, self._strangers = self._strangers, set()
        return strangers

    def unread_buckets(self) -> set[BucketId]:
        """New buckets whose keys are to be read."""
        return set(self._unread)

    def learn(self, scope: Scope, asked: set[BucketId], found: Mapping[BucketId, BucketKey]) -> None:
        """Keys of new buckets, as they were read."""
        self.made.learn(scope, asked & self._unread, found)
        self._unread -= asked

    async def wake_concerned(self) -> None:
        """Let those look again whom something concerns, now that it is known."""
        waiters = [waiter for waiting in self._by_device.values() for waiter in waiting]
        for number, waiter in enumerate(waiters, 1):
            if not self.is_settled:
                return  # more has come, and is read next
            if not waiter.woken.done() and self.first_concern(waiter.state, waiter.caller) is not None:
                _end(waiter, True)
            if number % _CHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)  # others want to be served meanwhile

    def first_concern(self, state: CursorState, caller: Caller) -> OpId | None:
        """The op behind which lies the first change that this device does not have; None: it is current.

        -1: it is not known, or there is more to it than changes of rows.
        """
        head = self.head
        if state.verdict != head.verdict and (
            state.verdict < self._verdicts_from or self._verdicts.get(caller.device_id, 0) > state.verdict
        ):
            return _UNKNOWN
        if state.binding != head.binding and not self.users.is_same(caller.user_id, state.binding, head.binding):
            return _UNKNOWN
        if state.checkpoint == head.op:
            return None
        self._forget_old(time.monotonic())
        if not self._moves_from <= state.checkpoint < head.op:
            return _UNKNOWN
        held = self.held(state.held)
        if self._made_op > state.checkpoint and self._is_made_for(caller.user_id, held, OpId(state.checkpoint)):
            return _UNKNOWN
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

    def wait(self, state: CursorState, caller: Caller, seconds: float) -> Coroutine[Any, Any, bool]:
        """Wait until something concerns this device; False where the time ran out. Whatever comes behind this call,
        also before it is awaited, is noticed."""
        return self._waited((self.head, self._wakes), state, caller, seconds)

    async def _waited(self, seen: tuple[Head, int], state: CursorState, caller: Caller, seconds: float) -> bool:
        if seen[0] is not self.head or seen[1] != self._wakes:
            return True
        loop, device_id = asyncio.get_running_loop(), caller.device_id
        waiter = Waiter(loop.create_future(), state, caller)
        held = self.held(state.held)
        of_device = self._by_device.setdefault(device_id, set())
        held.waiting.add(waiter)
        of_device.add(waiter)
        if not self.users.knows(caller.user_id, self.head.binding):
            self._strangers.add(caller.user_id)
            self._unsettled()
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
        self._wakes += 1
        _wake(self._by_device.get(device_id, set()))

    def wake_all(self) -> None:
        """Let everyone look again."""
        self._wakes += 1
        for waiting in list(self._by_device.values()):
            _wake(waiting)

    def _take_ops(self, known: Head, head: Head) -> frozenset[BucketId] | None:
        """The buckets that moved; None: not known."""
        if head.epoch == known.epoch and head.op == known.op:
            return frozenset()
        moved = head.touched_buckets if head.moved_buckets is None else head.moved_buckets
        if head.epoch != known.epoch or head.moved_from != known.op or moved is None:
            self._moves.clear()
            self.made, self._unread = MadeBuckets(), set()
            self._bucket_count, self._made_count, self._moves_from = 0, 0, head.op
            return None
        made = frozenset(unpack_buckets(head.made_buckets or b""))
        move = Move(known.op, head.op, frozenset(unpack_buckets(moved)), made, time.monotonic())
        self._moves.append(move)
        self._bucket_count += len(move.buckets)
        self._made_count += len(made)
        self._unread |= made
        self._made_op = OpId(head.op) if made else self._made_op
        self._forget_old(move.at)
        return move.buckets

    def _forget_old(self, now: float) -> None:
        moves = self._moves
        while moves and (
            len(moves) > REMEMBERED_MOVES
            or self._bucket_count > REMEMBERED_BUCKETS
            or self._made_count > REMEMBERED_MADE
            or moves[0].at < now - REMEMBERED_SECONDS
        ):
            gone = moves.popleft()
            self._bucket_count -= len(gone.buckets)
            self._made_count -= len(gone.made)
            self._unread -= gone.made
            self.made.forget(gone.made)
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

    def _is_made_for(self, user_id: str, held: Held, checkpoint: OpId) -> bool:
        """A bucket made behind the checkpoint is the user's, or may be. Cost: each bucket once for who holds a set."""
        user = self.users.known(user_id, self.head.binding)
        if user is None:
            return not self.users.knows(user_id, self.head.binding)
        done = held.checked.get(user_id)
        if done is None or done.user is not user or done.since > checkpoint:
            done = Checked(user, checkpoint, checkpoint)
        if done.to < self._made_op:
            for move in self._behind(max(done.to, checkpoint)):
                if any(self.made.is_bound(bucket, user, held) for bucket in move.made):
                    return True
        held.checked[user_id] = Checked(user, done.since, OpId(self.head.op))
        return False

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
