"""A download: step by step from what a device has to where the organization stands.

One step is one snapshot of the staging database and ends in a cursor: a slow device holds no transaction, a broken
answer resumes. In a step: rows of buckets the user lost go away, new buckets are loaded, then changes behind the
checkpoint follow in op order. The step that reaches the head ends the download: all it did not send before is sent in
this one snapshot, so the device's copy equals the scope as of its checkpoint.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping

import msgspec

from satchel.buckets.members import entity_sizes, load_buckets, lost_rows, read_tail
from satchel.database.columns import table_name
from satchel.database.pool import Connection, Database
from satchel.model.ids import BucketId, OpId
from satchel.model.scope import Scope
from satchel.protocol import codec
from satchel.protocol.messages import Begin, End
from satchel.staging.head import Head, read_head, read_scope
from satchel.staging.render import render_keys, render_rows
from satchel.staging.watermark import generations
from satchel.sync.binding import UserBuckets, user_buckets
from satchel.sync.cursor import CursorState, pack_buckets

KEYS_PER_LINE = 2000


class StepLimits(msgspec.Struct, frozen=True):
    """How much one step sends."""

    rows_per_step: int
    rows_per_line: int


class View(msgspec.Struct, frozen=True):
    """What one snapshot says: where the organization stands and what this user may have."""

    connection: Connection
    head: Head
    scope: Scope
    bound: UserBuckets
    limits: StepLimits


async def download(
    database: Database,
    user_id: str,
    state: CursorState | None,
    model_digest: str | None,
    *,
    limits: StepLimits,
    seal: Callable[[CursorState], str],
) -> AsyncIterator[bytes]:
    """The lines of an answer, a batch a step, from what the device has to the organization's head."""
    is_first = True
    while True:
        async with database.snapshot() as connection:
            scope = await read_scope(connection)
            view = View(
                connection, await read_head(connection), scope, await user_buckets(connection, scope, user_id), limits
            )
            state, begins_reset = _usable(state, view.head)
            lines = _opening(view, model_digest, begins_reset=begins_reset) if is_first else []
            if not is_first and (begins_reset or view.head.model_digest != model_digest):
                return  # published or rebuilt meanwhile: the device comes again from its last cursor and is told
            model_digest = view.head.model_digest
            state, is_end, step_lines = await _step(view, state)
        lines += step_lines
        lines.append(codec.end_line(End(state.checkpoint, seal(state))) if is_end else codec.cursor_line(seal(state)))
        yield b"".join(lines)
        if is_end:
            return
        is_first = False


def is_current(state: CursorState, head: Head, model_digest: str | None) -> bool:
    """There is nothing new for this device."""
    return (
        state.epoch == head.epoch
        and state.checkpoint == head.op
        and state.binding == head.binding
        and model_digest == head.model_digest
        and not state.loading
        and not state.is_reset
    )


def _usable(state: CursorState | None, head: Head) -> tuple[CursorState, bool]:
    """A fresh start where there is no cursor; where it is of another staging database a reset, which begins now."""
    if state is None:
        return CursorState(epoch=head.epoch, checkpoint=head.op), False
    if state.epoch != head.epoch or state.checkpoint > head.op:
        return CursorState(epoch=head.epoch, checkpoint=head.op, is_reset=True), True
    return state, False


def _opening(view: View, model_digest: str | None, *, begins_reset: bool) -> list[bytes]:
    lines = [codec.begin_line(Begin(view.head.op, view.head.model_digest, begins_reset))]
    if model_digest != view.head.model_digest:
        lines.append(codec.model_line(view.scope.client_model))
    return lines


async def _step(view: View, state: CursorState) -> tuple[CursorState, bool, list[bytes]]:
    state, lines = await _settle_buckets(view, state)
    budget = view.limits.rows_per_step
    while state.loading and budget > 0:
        state, count, loaded_lines = await _load(view, state, budget)
        lines += loaded_lines
        budget -= max(count, 1)
    if state.loading or budget <= 0:
        return state, False, lines
    tail = await read_tail(
        view.connection,
        held=state.held_buckets,
        bound=list(view.bound.entity_by_bucket),
        checkpoint=OpId(state.checkpoint),
        limit=budget,
    )
    lines += await _put_lines(view, ((entity, row) for entity, row, is_in_scope in tail.rows if is_in_scope))
    lines += await _remove_lines(view, ((entity, row) for entity, row, is_in_scope in tail.rows if not is_in_scope))
    if not tail.is_complete:
        return msgspec.structs.replace(state, checkpoint=tail.op), False, lines
    done = msgspec.structs.replace(state, checkpoint=view.head.op, binding=view.head.binding, is_reset=False)
    return done, True, lines


async def _settle_buckets(view: View, state: CursorState) -> tuple[CursorState, list[bytes]]:
    """Take away what the user lost, note what is new, and load again what an entity's new client model changes."""
    bound = set(view.bound.entity_by_bucket)
    held, loading = set(state.held_buckets), set(state.loading_buckets)
    lost = (held | loading) - bound
    rows = await lost_rows(view.connection, lost=sorted(lost), held=sorted(bound), checkpoint=OpId(state.checkpoint))
    lines = await _remove_lines(view, rows)
    digests = await _digests(view)
    lines += _wipe_lines(state.entities, digests)
    reshaped = {b for b in held & bound if digests.get(e := view.bound.entity_by_bucket[b]) != state.entities.get(e)}
    held = (held & bound) - reshaped
    new = bound - held - loading
    loading = (loading & bound) | new
    is_behind = any(view.bound.entity_by_bucket[b] == state.loading_entity and b <= state.at_bucket for b in new)
    restart = {"at_bucket": 0, "at_op": 0} if is_behind or state.entities != digests else {}
    return msgspec.structs.replace(
        state, held=pack_buckets(held), loading=pack_buckets(loading), entities=digests, **restart
    ), lines


async def _digests(view: View) -> dict[str, str]:
    """What an entity's rows on a device depend on: the life of its staging table, and its client model."""
    lives = await generations(view.connection)
    entities = view.scope.client_model.entities
    return {entity.name: f"{lives.get(entity.name, '')[:8]}/{entity.digest[:8]}" for entity in entities}


def _wipe_lines(sent: Mapping[str, str], now: Mapping[str, str]) -> list[bytes]:
    """A table that was rebuilt no longer knows what devices hold of it: they drop those rows and load anew."""
    rebuilt = [e for e in sorted(sent.keys() & now.keys()) if sent[e].split("/")[0] != now[e].split("/")[0]]
    return [codec.wipe_line(rebuilt)] if rebuilt else []


async def _load(view: View, state: CursorState, budget: int) -> tuple[CursorState, int, list[bytes]]:
    """The next rows of the entity that is loading, small entities first; its buckets count as held at the end."""
    entity = await _loading_entity(view, state)
    if entity != state.loading_entity:
        state = msgspec.structs.replace(state, loading_entity=entity, at_bucket=0, at_op=0)
    loading = set(state.loading_buckets)
    buckets = loading & view.bound.of_entity(entity)
    bucket, op = state.position
    loaded = await load_buckets(view.connection, sorted(buckets), bucket=bucket, op=op, limit=budget)
    lines = await _put_lines(view, ((entity, row) for row in loaded.row_ids))
    if not loaded.is_complete:
        state = msgspec.structs.replace(state, at_bucket=loaded.bucket, at_op=loaded.op)
        return state, budget, lines
    state = msgspec.structs.replace(
        state,
        held=pack_buckets({*state.held_buckets, *buckets}),
        loading=pack_buckets(loading - buckets),
        loading_entity="",
        at_bucket=0,
        at_op=0,
    )
    return state, len(loaded.row_ids), lines


async def _loading_entity(view: View, state: CursorState) -> str:
    waiting = {view.bound.entity_by_bucket[BucketId(b)] for b in state.loading_buckets}
    if state.loading_entity in waiting:
        return state.loading_entity
    sizes = await entity_sizes(view.connection)
    return min(waiting, key=lambda entity: (sizes.get(table_name(entity), 0), entity))


async def _put_lines(view: View, rows: Iterable[tuple[str, int]]) -> list[bytes]:
    lines: list[bytes] = []
    for name, row_ids in _by_entity(rows).items():
        client = view.scope.client_model.entity_by_name.get(name)
        if client is None:
            continue
        columns = [attribute.name for attribute in client.attributes]
        entity = view.scope.entity_by_name[name]
        rendered = await render_rows(view.connection, entity, columns, row_ids, rows_per_line=view.limits.rows_per_line)
        lines += [codec.put_line(name, columns, [text]) for _, text in rendered]
    return lines


async def _remove_lines(view: View, rows: Iterable[tuple[str, int]]) -> list[bytes]:
    """Keys to drop. An entity that is no longer offered needs none: the device drops it with the client model."""
    lines: list[bytes] = []
    for name, row_ids in _by_entity(rows).items():
        if name not in view.scope.client_model.entity_by_name:
            continue
        keys = await render_keys(view.connection, view.scope.entity_by_name[name], row_ids)
        lines += [codec.remove_line(name, keys[i : i + KEYS_PER_LINE]) for i in range(0, len(keys), KEYS_PER_LINE)]
    return lines


def _by_entity(rows: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for entity, row_id in rows:
        grouped.setdefault(entity, []).append(row_id)
    return grouped
