"""Whoever presses "Check and count" again and again does not make the database count as often at once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from satchel.console.pages.profiles import COUNTED_AT_ONCE, check
from satchel.errors import InputInvalid

TEXT = 'name = "Sales"\n[[entity]]\nname = "contact"\n'


class Organizations:
    """A register that answers when it is told to, and knows how many wait for it."""

    def __init__(self) -> None:
        self.waiting = self.most = 0
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def get(self, name: str) -> None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        self.asked.set()
        await self.answer.wait()
        self.waiting -= 1
        raise InputInvalid(f"There is no {name}.")


async def test_only_so_many_are_counted_at_once() -> None:
    register = Organizations()
    rooms = SimpleNamespace(organizations=register, profiles=SimpleNamespace(published=None))
    desk = cast(Any, SimpleNamespace(rooms=rooms))
    checks = [asyncio.ensure_future(check(desk, "contoso", TEXT)) for _ in range(5)]
    await asyncio.wait_for(register.asked.wait(), 20)
    register.answer.set()
    assert [each.problem for each in await asyncio.gather(*checks)] == ["There is no contoso."] * 5
    assert register.most == COUNTED_AT_ONCE
