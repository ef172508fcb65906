"""Changes that several devices get: read and written once, whoever asks for them.

A device that is complete up to a change, and whose buckets are the same as before, needs no look at the database of its
own: what the change did to a row is the same for all who have the row's buckets. Everything else is `download`'s.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import msgspec

from satchel.access.user_model import user_model
from satchel.buckets.members import ChangedRow, changed_rows
from satchel.database.pool import Connection
from satchel.model.client_model import ClientModel
from satchel.model.ids import OpId
from satchel.model.scope import Scope
from satchel.protocol import codec
from satchel.protocol.messages import Begin, Lease
from satchel.staging.head import Head, read_head, read_scope
from satchel.staging.render import key_texts, row_texts
from satchel.sync.cursor import CursorState
from satchel.sync.served import ServedOrganization
from satchel.sync.standing import Held, Standing
from satchel.sync.step import KEYS_PER_LINE, Caller

MAX_ROWS = 1_000
MAX_BUCKETS = 5_000
_KEPT = 32
_TRIES = 3
_UNKNOWN = OpId(-1)


class SharedLines(msgspec.Struct):
    """Lines that several devices get, and their compressed forms."""

    lines: bytes
    by_encoding: dict[str, bytes] = {}


class Told(msgspec.Struct):
    """What one snapshot says of the rows that changed behind an op, for one client model."""

    head: Head
    model: ClientModel
    rows: list[ChangedRow]
    texts: dict[int, str]
    """Rows that are in any bucket, as JSON arrays, by row id in the order of their keys."""
    keys: dict[int, str]
    made: dict[tuple[frozenset[int], frozenset[int]], SharedLines] = {}


class SharedChanges:
    """The changes that were asked for last."""

    def __init__(self, lease: Lease) -> None:
        """`lease` is told with every answer."""
        self._lease = lease
        self._told: OrderedDict[tuple[str, int, int, int, str], asyncio.Task[Told | None]] = OrderedDict()

    async def answer(
        self, served: ServedOrganization, standing: Standing, state: CursorState, caller: Caller, since: OpId
    ) -> tuple[CursorState, SharedLines] | None:
        """The lines up to the head without the last, and the state behind them; None: this needs a `download`.

        `since`: the op behind which lies the first change that concerns the device. Cost: a few statements for each
        change and client model, none for each device.
        """
        for _ in range(_TRIES):
            told = await self._once(served, standing, state, caller, since)
            if told is None:
                return None
            still = news(standing, state, state.model, caller)
            if still == since and standing.head.op == told.head.op:
                held = standing.held(state.held)
                head = standing.head  # the user is the same at its binding
                now = msgspec.structs.replace(
                    state, checkpoint=told.head.op, binding=head.binding, verdict=head.verdict
                )
                return now, self._lines(told, held)
            if still is None or still == _UNKNOWN:
                return None
            since = still
        return None

    async def _once(
        self, served: ServedOrganization, standing: Standing, state: CursorState, caller: Caller, since: OpId
    ) -> Told | None:
        head = standing.head
        key = (head.epoch, since, head.op, head.binding, state.model)
        task = self._told.get(key)
        if task is None or task.cancelled() or (task.done() and task.exception() is not None):
            while len(self._told) >= _KEPT:
                self._told.popitem(last=False)
            task = self._told[key] = asyncio.create_task(_read(served, standing, state, caller, since))
        return task.result() if task.done() else await asyncio.shield(task)

    def _lines(self, told: Told, held: Held) -> SharedLines:
        """The lines for those who hold these buckets; made once for all who get the same."""
        mine = [row for row in told.rows if held.is_touched(row.touched)]
        puts = frozenset(row.row_id for row in mine if held.is_touched(row.live))
        removed = frozenset(row.row_id for row in mine) - puts
        lines = told.made.get((puts, removed))
        if lines is None:
            lines = told.made[puts, removed] = SharedLines(self._written(told, puts, removed))
        return lines

    def _written(self, told: Told, puts: frozenset[int], removed: frozenset[int]) -> bytes:
        lines = [codec.begin_line(Begin(told.head.op, told.model.digest, reset=False, lease=self._lease))]
        entity_by_row = {row.row_id: row.entity for row in told.rows}
        for client in told.model.entities:
            name, columns = client.name, [attribute.name for attribute in client.attributes]
            texts = [text for row_id, text in told.texts.items() if row_id in puts and entity_by_row[row_id] == name]
            keys = [text for row_id, text in told.keys.items() if row_id in removed and entity_by_row[row_id] == name]
            if texts:
                lines.append(codec.put_line(name, columns, texts))
            lines += [codec.remove_line(name, keys[i : i + KEYS_PER_LINE]) for i in range(0, len(keys), KEYS_PER_LINE)]
        return b"".join(lines)


def news(standing: Standing, state: CursorState, model_digest: str | None, caller: Caller) -> OpId | None:
    """What is new for a device: None where it is current, the op behind which its first change lies, or -1 where there
    is more to it than changes of rows."""
    head = standing.head
    is_settled = (
        state.epoch == head.epoch
        and state.base_model == head.model_digest
        and state.model == model_digest
        and not state.loading
        and not state.is_reset
    )
    return standing.first_concern(state, caller) if is_settled else _UNKNOWN


async def _read(
    served: ServedOrganization, standing: Standing, state: CursorState, caller: Caller, since: OpId
) -> Told | None:
    async with served.staging.snapshot() as connection:
        head, scope = await read_head(connection), await read_scope(connection)
        user = await served.users.find(connection, head, scope, caller.user_id)
        if user is None or not user.is_enabled or head.epoch != state.epoch:
            return None
        model = user_model(scope, user)
        standing.take(head)
        if head.binding != state.binding and not standing.users.is_same(caller.user_id, state.binding, head.binding):
            return None
        buckets = standing.touched_behind(since)
        if (
            head.floor > state.checkpoint
            or model.digest != state.model
            or head.op != standing.head.op
            or len(buckets) > MAX_BUCKETS
        ):
            return None
        rows = await changed_rows(connection, sorted(buckets), since, MAX_ROWS + 1)
        if len(rows) > MAX_ROWS:
            return None
        texts, keys = await _texts(connection, scope, model, rows)
    return Told(head, model, rows, texts, keys)


async def _texts(
    connection: Connection, scope: Scope, model: ClientModel, rows: list[ChangedRow]
) -> tuple[dict[int, str], dict[int, str]]:
    texts: dict[int, str] = {}
    keys: dict[int, str] = {}
    for client in model.entities:
        mine = [row for row in rows if row.entity == client.name]
        if mine:
            entity = scope.entity_by_name[client.name]
            columns = [attribute.name for attribute in client.attributes]
            texts |= await row_texts(connection, entity, columns, [row.row_id for row in mine if row.live])
            keys |= await key_texts(connection, entity, [row.row_id for row in mine])
    return texts, keys
