"""Room for requests: more while the source answers, half when it pushes back."""

from __future__ import annotations

import asyncio

from satchel.source.throttle import RISE_AFTER_SUCCESSES, Limiter
from tests.unit.source.fake_service import Hours


def test_room_grows_after_a_run_of_successes(hours: Hours) -> None:
    limiter = Limiter(hours.pace(), start=4, maximum=5)
    for _ in range(3 * RISE_AFTER_SUCCESSES):
        limiter.succeeded()
    assert limiter.limit == 5


async def test_push_back_halves_once_for_all_requests_under_way(hours: Hours) -> None:
    limiter = Limiter(hours.pace(), start=8)
    async with limiter.slot() as first, limiter.slot() as second:
        limiter.pushed_back(first, 0)
        limiter.pushed_back(second, 0)
    assert limiter.limit == 4


async def test_room_never_shrinks_to_nothing(hours: Hours) -> None:
    limiter = Limiter(hours.pace(), start=2)
    for _ in range(5):
        async with limiter.slot() as generation:
            limiter.pushed_back(generation, 0)
    assert limiter.limit == 1


async def test_pause_holds_all_requests(hours: Hours) -> None:
    limiter = Limiter(hours.pace(), start=2)
    async with limiter.slot() as generation:
        limiter.pushed_back(generation, 7)
    async with limiter.slot():
        assert hours.slept == [7]


async def test_no_more_than_the_limit_are_under_way(hours: Hours) -> None:
    limiter = Limiter(hours.pace(), start=3)
    under_way, most = 0, 0

    async def work() -> None:
        nonlocal under_way, most
        async with limiter.slot():
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert most == 3


async def test_cancelled_waiter_leaves_room_for_the_others(hours: Hours) -> None:
    limiter = Limiter(hours.pace(), start=1)

    async def work() -> str:
        async with limiter.slot():
            return "done"

    async with limiter.slot():
        waiting = [asyncio.create_task(work()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert results[1:] == ["done", "done"]


def test_backoff_doubles_up_to_a_bound(hours: Hours) -> None:
    assert [hours.pace().backoff_seconds(attempt) for attempt in (0, 1, 2, 20)] == [0.5, 1, 2, 10]
