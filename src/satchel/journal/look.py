"""The journal as an administrator sees it, and what they may do: have a set tried again, or close it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from satchel.database.pool import Connection
from satchel.database.queries import load_queries
from satchel.journal.sets import known_before, lock_verdicts, settle
from satchel.model.edits import Edit, EditOutcome, Outcome, Reason, Verdict

_SQL = load_queries(__file__)
_ALL_STATES = ("waiting", "sending", "held", "settled")


class Show(StrEnum):
    """Which sets."""

    OPEN = "open"  # not settled
    STUCK = "stuck"  # somebody must decide, or it was tried and waits
    SETTLED = "settled"
    ALL = "all"

    @property
    def states(self) -> tuple[str, ...]:
        """The states of such sets."""
        if self is Show.SETTLED:
            return ("settled",)
        return _ALL_STATES if self is Show.ALL else _ALL_STATES[:-1]


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Which sets an administrator means; what is None does not matter."""

    show: Show = Show.OPEN
    numbers: tuple[int, ...] | None = None
    device: str | None = None
    user: str | None = None
    entity: str | None = None
    after: int = 0
    """Only higher numbers."""
    limit: int = 100


class SeenSet(msgspec.Struct, frozen=True, kw_only=True):
    """An edit set, with all that a person needs to decide."""

    number: int
    id: str
    version: int
    device: str
    user: str
    made_at: str
    """By the device's clock."""
    received_at: datetime
    state: str
    verdict: Verdict | None
    tries: int
    next_at: datetime | None
    """When it is tried again."""
    problem: str | None
    """Why it waits."""
    settled_at: datetime | None
    edits: tuple[Edit, ...]
    outcome: Outcome | None

    @property
    def word(self) -> str:
        """Its state in one word: the verdict where there is one."""
        return "closed" if self.outcome and self.outcome.is_closed else self.verdict or self.state


class Count(msgspec.Struct, frozen=True):
    """How many sets are in a state."""

    state: str
    verdict: str
    sets: int
    oldest: datetime


async def find_sets(connection: Connection, chosen: Chosen) -> list[SeenSet]:
    """The chosen sets, oldest first."""
    parameters = {
        "states": list(chosen.show.states),
        "stuck": chosen.show is Show.STUCK,
        "numbers": list(chosen.numbers) if chosen.numbers is not None else None,
        "device": chosen.device,
        "user": chosen.user,
        "entity": chosen.entity,
        "after": chosen.after,
        "limit": chosen.limit,
    }
    return [_seen(row) for row in await (await connection.execute(_SQL["listed"], parameters)).fetchall()]


async def count_sets(connection: Connection) -> list[Count]:
    """How many sets are in which state."""
    return [Count(*row) for row in await (await connection.execute(_SQL["counts"])).fetchall()]


class Backlog(msgspec.Struct, frozen=True):
    """What is not settled."""

    waiting: int
    """To be played, those that may have been executed among them."""
    trying: int
    """Of those: tried at least once, with a problem."""
    held: int
    """Somebody decides."""
    oldest_due_at: datetime | None
    """When the oldest came that may be played now."""
    oldest_held_at: datetime | None
    problem: str | None
    """Of one of those that were tried."""


async def read_backlog(connection: Connection) -> Backlog:
    """What is not settled. Cost: in proportion to it."""
    row = await (await connection.execute(_SQL["backlog"])).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always has one
    return Backlog(*row)


async def try_again(connection: Connection, numbers: Sequence[int]) -> list[int]:
    """Have these sets played now, as they are; returns those that were not settled."""
    cursor = await connection.execute(_SQL["again"], {"numbers": list(numbers)})
    return sorted(row[0] for row in await cursor.fetchall())


async def close_sets(
    connection: Connection, numbers: Sequence[int], *, message: str, even_if_executed: bool
) -> tuple[list[int], list[int]]:
    """Give these sets up: they come home as rejected, and hold nothing any more. Their users may still take them up.

    Returns those that were closed, and those that were not as they may have been executed at the source.
    """
    await lock_verdicts(connection)
    cursor = await connection.execute(_SQL["lock"], {"numbers": list(numbers)})
    closed, unsure = [], []
    for number, version, state, device, set_id, edits, known in await cursor.fetchall():
        if state == "settled":
            continue
        if state == "sending" and not even_if_executed:
            unsure.append(number)
            continue
        code = "satchel/closed-unsure" if state == "sending" else "satchel/closed"
        told = tuple(
            EditOutcome(id=edit.id, verdict=Verdict.REJECTED, reason=Reason.CLOSED, code=code, message=message)
            for edit in msgspec.json.decode(edits, type=tuple[Edit, ...])
        )
        outcome = Outcome(set=set_id, version=version, verdict=Verdict.REJECTED, edits=told)
        earlier = msgspec.json.decode(known) if known else await known_before(connection, set_id, device=device)
        if await settle(connection, number, outcome, earlier) is not None:
            closed.append(number)
    return closed, unsure


def _seen(row: tuple[Any, ...]) -> SeenSet:
    *plain, edits, outcome = row
    values = dict(zip(SeenSet.__struct_fields__, plain, strict=False))
    values["verdict"] = Verdict(values["verdict"]) if values["verdict"] else None
    return SeenSet(
        **values,
        edits=msgspec.json.decode(edits, type=tuple[Edit, ...]),
        outcome=msgspec.json.decode(outcome, type=Outcome) if outcome else None,
    )
