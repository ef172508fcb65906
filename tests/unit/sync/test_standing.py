"""Who is woken: those whom a change concerns, everyone where it is not known, nobody else."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from satchel.model.ids import BucketId
from satchel.model.packing import pack_buckets
from satchel.staging.head import Head
from satchel.sync import standing as module
from satchel.sync.cursor import CursorState
from satchel.sync.standing import Standing
from satchel.sync.step import Caller

FIRST = Head("e", 100, 1, "m", verdict=5)


def packed(*buckets: int) -> bytes:
    return pack_buckets(BucketId(bucket) for bucket in buckets)


def moved(head: Head, *buckets: int) -> Head:
    return msgspec.structs.replace(head, op=head.op + 1, moved_from=head.op, moved_buckets=packed(*buckets))


def caller(device_id: str) -> Caller:
    return Caller(f"user of {device_id}", device_id)


def device(*buckets: int, checkpoint: int = 100, verdict: int = 5) -> CursorState:
    return CursorState(epoch="e", checkpoint=checkpoint, binding=1, held=packed(*buckets), verdict=verdict)


async def waits(standing: Standing, state: CursorState, device_id: str) -> asyncio.Task[bool]:
    task = asyncio.create_task(standing.wait(state, caller(device_id), 30))
    await asyncio.sleep(0)
    return task


async def is_woken(task: asyncio.Task[bool]) -> bool:
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return False


async def test_a_change_wakes_those_who_hold_its_buckets() -> None:
    standing = Standing(FIRST)
    one, other = await waits(standing, device(1, 2), "one"), await waits(standing, device(3), "other")
    standing.take(moved(FIRST, 2, 7))
    assert await is_woken(one)
    assert not await is_woken(other)


async def test_a_user_of_many_buckets_is_found() -> None:
    standing = Standing(FIRST)
    many = await waits(standing, device(*range(1, 20_001, 2)), "many")
    standing.take(moved(FIRST, 20_000))
    assert not many.done()
    standing.take(moved(standing.head, 19_999))
    assert await is_woken(many)


@pytest.mark.parametrize(
    "head",
    [
        msgspec.structs.replace(moved(FIRST, 9), model_digest="other"),
        msgspec.structs.replace(moved(FIRST, 9), epoch="another"),
        msgspec.structs.replace(moved(FIRST, 9), moved_buckets=None),  # too many to be told
        msgspec.structs.replace(moved(FIRST, 9), moved_from=99),  # one in between was not told
        msgspec.structs.replace(FIRST, op=101),  # of an older version, which does not say what moved
        msgspec.structs.replace(FIRST, verdict=6),
    ],
)
async def test_what_is_not_known_wakes_everyone(head: Head) -> None:
    standing = Standing(FIRST)
    task = await waits(standing, device(1), "one")
    standing.take(head)
    assert await is_woken(task)


async def test_a_verdict_wakes_its_device_alone() -> None:
    standing = Standing(FIRST)
    mine, other = await waits(standing, device(1), "mine"), await waits(standing, device(1), "other")
    standing.take(msgspec.structs.replace(FIRST, verdict=7, verdicts_from=5, verdict_devices=["mine"]))
    assert await is_woken(mine)
    assert not await is_woken(other)
    assert standing.first_concern(device(1), caller("mine")) == -1
    assert standing.first_concern(device(1), caller("other")) is None


async def test_a_checkpoint_behind_is_current_where_nothing_concerned_it() -> None:
    standing = Standing(FIRST)
    standing.take(moved(FIRST, 7))
    standing.take(moved(standing.head, 8))
    standing.take(moved(standing.head, 9))
    assert standing.first_concern(device(1), caller("d")) is None
    assert standing.first_concern(device(1, 8), caller("d")) == 101  # the op behind which it lies
    assert standing.first_concern(device(1, 8, checkpoint=102), caller("d")) is None
    assert standing.first_concern(device(1, 9, checkpoint=101), caller("d")) == 102
    assert standing.first_concern(device(1, checkpoint=99), caller("d")) == -1  # before anything is known
    assert standing.first_concern(device(1, checkpoint=999), caller("d")) == -1


async def test_a_change_between_two_looks_is_not_lost() -> None:
    standing = Standing(FIRST)
    assert standing.first_concern(device(1), caller("d")) is None
    for bucket in (5, 1, 6):
        standing.take(moved(standing.head, bucket))
        standing.first_concern(device(2), caller("another"))
    assert standing.first_concern(device(1), caller("d")) == 101
    assert standing.first_concern(device(1, checkpoint=102), caller("d")) is None


async def test_what_is_forgotten_counts_as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_MOVES", 3)
    standing = Standing(FIRST)
    for _ in range(5):
        standing.take(moved(standing.head, 9))
    assert standing.first_concern(device(1), caller("d")) == -1
    assert standing.first_concern(device(1, checkpoint=102), caller("d")) is None


async def test_a_late_notification_changes_nothing() -> None:
    standing = Standing(FIRST)
    late, newer = moved(FIRST, 1), moved(moved(FIRST, 1), 2)
    standing.take(newer)
    task = await waits(standing, device(1, checkpoint=102), "d")
    standing.take(late)
    assert standing.head == newer
    assert not await is_woken(task)


async def test_nothing_is_kept_of_those_who_no_longer_wait() -> None:
    standing = Standing(FIRST)
    tasks = [await waits(standing, device(number), f"d{number}") for number in range(50)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not standing._by_device
    assert not any(held.waiting for held in standing._held.values())
    assert await standing.wait(device(1), caller("d"), 0.001) is False
