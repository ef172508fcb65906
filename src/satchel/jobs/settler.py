"""Settles edit sets in groups: while one group is written, what is ready meanwhile gathers for the next.

Verdicts are numbered in the order of their commits, so only one transaction can settle at a time; in groups, a flush to
disk is paid once for all that wait for it.
"""

from __future__ import annotations

import asyncio

from satchel.jobs.organization import OrganizationWork
from satchel.jobs.write_through import Settlement, settle_all

_Waiting = tuple[Settlement, "asyncio.Future[None]"]


class Settler:
    """The only one who settles sets of an organization while it is played."""

    def __init__(self, work: OrganizationWork) -> None:
        """Nothing runs before the first `settle`."""
        self._work = work
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def settle(self, settlement: Settlement) -> None:
        """Returns when it is committed. Errors: StoreBusy, PullOvertaken; nothing was written then."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((settlement, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        await done

    async def close(self) -> None:
        """End what is under way; the journal says what was not settled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            await self._settle(group)

    async def _settle(self, group: list[_Waiting]) -> None:
        try:
            await settle_all(self._work, [settlement for settlement, _ in group])
        except Exception as error:
            if len(group) > 1:  # what cannot be settled holds only itself
                for each in group:
                    await self._settle([each])
            elif not group[0][1].done():
                group[0][1].set_exception(error)
            return
        for _, done in group:
            if not done.done():
                done.set_result(None)
