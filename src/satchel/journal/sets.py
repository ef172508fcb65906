"""Edit sets in the journal. What is in it is executed once, or comes home with a reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from satchel.database.pool import Connection
from satchel.database.queries import load_queries
from satchel.journal.rows import TouchedRow, row_name
from satchel.model.edits import Edit, EditSet, Outcome, Verdict

_SQL = load_queries(__file__)
_edits = msgspec.json.Decoder(tuple[Edit, ...]).decode
_encode = msgspec.json.Encoder().encode
AS_AFTER = "as_after"
"""In place of a known row: it is as after the set of this id, which had yet to be played."""


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was sent to the source, while its effect is unknown."""

    since: datetime
    """By the database's clock."""
    etags: dict[str, str | None]
    """The version each edit's row had, by the edit's id."""
    alone_seconds: dict[str, float] = {}
    """How long before that Satchel had written the edit's row last, by the edit's id; missing: not lately."""


class JournaledSet(msgspec.Struct, frozen=True, kw_only=True):
    """An edit set that is to be played."""

    number: int
    id: str
    version: int
    device: str
    user_id: str
    made_at: str
    edits: tuple[Edit, ...]
    tries: int
    attempt: Attempt | None
    """Set: it may have been executed."""
    received_at: datetime
    trace: str = ""
    """The request it came with (traceparent)."""


class Standing(msgspec.Struct, frozen=True):
    """A set as the journal has it."""

    version: int
    state: str
    verdict: Verdict | None
    device: str
    digest: str
    """MD5 of its edits."""
    is_forgotten: bool
    """It was settled long ago: what became of it is all that is left."""

    @property
    def is_final(self) -> bool:
        """Nobody needs to decide anything any more."""
        return self.verdict is not None and self.verdict.is_final


async def standing(connection: Connection, set_ids: Sequence[str]) -> dict[str, Standing]:
    """Those of these sets that the journal has, locked until the end of the transaction."""
    cursor = await connection.execute(_SQL["standing"], {"ids": list(set_ids)})
    return {
        row[0]: msgspec.convert(dict(zip(Standing.__struct_fields__, row[1:], strict=True)), Standing)
        for row in await cursor.fetchall()
    }


async def add(
    connection: Connection, new: Sequence[EditSet], *, device: str, user_id: str, trace: str = ""
) -> dict[str, int]:
    """Put new sets into the journal, in order; returns their numbers. One that was put there just now is left out."""
    parameters = {
        "ids": [each.id for each in new],
        "versions": [each.version for each in new],
        "made_at": [each.made_at for each in new],
        "edits": [_encode(each.edits).decode() for each in new],
        "device": device,
        "user_id": user_id,
        "trace": trace or None,
    }
    return dict(await (await connection.execute(_SQL["add"], parameters)).fetchall())


async def replace(connection: Connection, edit_set: EditSet, *, trace: str = "") -> int:
    """Put another version of a set into its place; returns its number."""
    parameters = {
        "id": edit_set.id,
        "version": edit_set.version,
        "made_at": edit_set.made_at,
        "edits": _encode(edit_set.edits).decode(),
        "trace": trace or None,
    }
    row = await (await connection.execute(_SQL["replace"], parameters)).fetchone()
    assert row is not None  # noqa: S101 - it stands, and is locked
    await connection.execute(_SQL["forget_rows"], {"number": row[1]})
    return int(row[1])


async def add_rows(connection: Connection, rows: Sequence[tuple[int, TouchedRow]]) -> None:
    """Note which rows the sets (by number) touch."""
    parameters = {
        "numbers": [number for number, _ in rows],
        "entities": [row.entity for _, row in rows],
        "keys": [row.key for _, row in rows],
        "written": [row.is_written for _, row in rows],
    }
    await connection.execute(_SQL["add_rows"], parameters)


async def lock_verdicts(connection: Connection) -> None:
    """Be the only one who gives verdicts until the end of the transaction.

    Order: before any set is locked, as whoever settles one holds this lock when it comes to the set.
    """
    await connection.execute("select from satchel.head for update")


async def unsettled(connection: Connection, device: str) -> tuple[int, int]:
    """How many sets of a device are not settled, and how many bytes their edits have."""
    row = await (await connection.execute(_SQL["unsettled"], {"device": device})).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


async def is_left(connection: Connection) -> bool:
    """Something is still to be played, now or later, or a row to be asked for once more."""
    row = await (await connection.execute(_SQL["is_left"])).fetchone()
    return bool(row and row[0])


async def playable(connection: Connection, *, under_way: Collection[int], limit: int) -> list[JournaledSet]:
    """The next sets that may be played, oldest first. Cost: in proportion to what is not settled."""
    cursor = await connection.execute(_SQL["playable"], {"under_way": list(under_way), "limit": limit})
    return [_journaled(row) for row in await cursor.fetchall()]


async def known_rows(connection: Connection, edits: Sequence[Edit], *, device: str) -> dict[str, Any]:
    """What the device may take for granted of these edits' rows, by the sets that they stand on; by `row_name`."""
    found: dict[str, dict[str, Any]] = {}
    asked = {edit.after for edit in edits if edit.after}
    while asked:
        cursor = await connection.execute(_SQL["known"], {"ids": list(asked), "device": device})
        fresh = {set_id: msgspec.json.decode(known) for set_id, known in await cursor.fetchall()}
        found |= fresh
        asked = {row[AS_AFTER] for rows in fresh.values() for row in rows.values() if AS_AFTER in row} - found.keys()
    known = {row_name(e.entity, e.key): _known(found, e.after, row_name(e.entity, e.key)) for e in edits}
    return {name: row for name, row in known.items() if row is not None}


async def edits_of(connection: Connection, set_ids: Sequence[str]) -> dict[str, tuple[Edit, ...]]:
    """What these sets do, as far as the journal has them."""
    cursor = await connection.execute(_SQL["edits_of"], {"ids": list(set_ids)})
    return {set_id: _edits(edits) for set_id, edits in await cursor.fetchall()}


async def known_before(connection: Connection, set_id: str, *, device: str) -> dict[str, Any]:
    """What the device may take for granted before this set, by its earlier ones; also by those still to be played."""
    stored = await (await connection.execute(_SQL["edits"], {"id": set_id})).fetchone()
    edits = [edit for edit in _edits(stored[0]) if edit.after] if stored else []
    to_come = {row_name(edit.entity, edit.key): {AS_AFTER: edit.after} for edit in edits}
    return to_come | await known_rows(connection, edits, device=device)


def _known(found: Mapping[str, Mapping[str, Any]], set_id: str | None, name: str) -> Any:
    """What is known of a row after a set, which may say that it is as after an earlier one; None: nothing."""
    passed: set[str] = set()
    while set_id is not None and set_id not in passed:  # a device that names sets in a circle has itself to blame
        passed.add(set_id)
        row = found.get(set_id, {}).get(name)
        if row is None or AS_AFTER not in row:
            return row
        set_id = row[AS_AFTER]
    return None


async def mark_sending(connection: Connection, journaled: JournaledSet, attempt: Attempt) -> bool:
    """Note what is about to be sent; False where the set was taken up again or settled meanwhile."""
    parameters = {
        "number": journaled.number,
        "version": journaled.version,
        "attempt": _encode(attempt).decode(),
    }
    return (await connection.execute(_SQL["sending"], parameters)).rowcount == 1


async def wait(
    connection: Connection, journaled: JournaledSet, *, seconds: float, problem: str, is_unknown: bool
) -> None:
    """Try again later. `is_unknown`: it may have been executed."""
    parameters = {
        "number": journaled.number,
        "version": journaled.version,
        "seconds": seconds,
        "problem": problem[:500],
        "is_unknown": is_unknown,
    }
    await connection.execute(_SQL["wait"], parameters)


async def settle(
    connection: Connection, number: int, outcome: Outcome, known: Mapping[str, Any] | None = None
) -> int | None:
    """Note what became of a set, in the transaction in which its rows are written through; returns the verdict's
    number, None where the set was taken up again or settled meanwhile.

    Order: verdict numbers are committed in their order, as the head's row is locked from here on.
    """
    row = await (await connection.execute(_SQL["next_verdict"], {"number": number})).fetchone()
    assert row is not None  # noqa: S101 - made with the database
    is_settled = outcome.verdict.is_final or outcome.is_closed
    parameters = {
        "number": number,
        "version": outcome.version,
        "state": "settled" if is_settled else "held",
        "verdict": outcome.verdict.value,
        "outcome": _encode(outcome).decode(),
        "known": None if known is None else _encode(known).decode(),
        "verdict_number": row[0],
    }
    if (await connection.execute(_SQL["settle"], parameters)).rowcount != 1:
        return None
    if is_settled:
        await connection.execute(_SQL["forget_rows"], {"number": number})
    return int(row[0])


async def outcomes(
    connection: Connection, device: str, *, after: int, until: int, limit: int
) -> list[tuple[int, Outcome]]:
    """Verdicts on a device's sets, with their numbers, in order."""
    parameters = {"device": device, "after": after, "until": until, "limit": limit}
    cursor = await connection.execute(_SQL["outcomes"], parameters)
    return [(n, msgspec.json.decode(text, type=Outcome)) for n, text in await cursor.fetchall()]


async def forget_settled(connection: Connection, *, days: int, remembered_days: int) -> None:
    """Keep of what was settled long ago only what became of it; that as long as a device may lie in a drawer that has
    not heard of it, and would send it again. Cost: in proportion to what goes."""
    await connection.execute(_SQL["forget_settled"], {"days": days})
    await connection.execute(_SQL["drop_settled"], {"days": days})
    await connection.execute(_SQL["drop_forgotten"], {"days": remembered_days})


def _journaled(row: tuple[Any, ...]) -> JournaledSet:
    number, set_id, version, device, user_id, made_at, edits, _, tries, attempt, received_at, trace = row
    return JournaledSet(
        number=number,
        id=set_id,
        version=version,
        device=device,
        user_id=user_id,
        made_at=made_at,
        edits=_edits(edits),
        tries=tries,
        attempt=msgspec.json.decode(attempt, type=Attempt) if attempt else None,
        received_at=received_at,
        trace=trace or "",
    )
