"""A download: step by step from what a device has to where the organization stands.

One step is one snapshot of the staging database and ends in a cursor: a slow device holds no transaction, a broken
answer resumes. In a step: rows of buckets the user lost go away, new buckets are loaded, then changes behind the
checkpoint follow in op order. The step that reaches the head ends the download: all it did not send before is sent in
this one snapshot, so the device's copy equals the scope as of its checkpoint.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import msgspec
import structlog

from satchel.buckets.members import Known, entity_sizes, except_of, load_buckets, lost_rows, read_tail
from satchel.buckets.snapshots import (
    Snapshot,
    ask_for_projection,
    find_snapshot,
    known_rows,
    newest_snapshots,
    unfit_rows,
)
from satchel.database.columns import table_name
from satchel.database.copying.fence import fenced_by
from satchel.database.pool import Connection, Database
from satchel.errors import StorageBusy, StorageMisconfigured, StoreBusy
from satchel.journal.sets import outcomes
from satchel.model.client_model import ClientEntity
from satchel.model.ids import BucketId, OpId
from satchel.model.packing import pack_buckets
from satchel.model.scope import Scope
from satchel.protocol import codec
from satchel.protocol.images import projection_digest
from satchel.protocol.messages import Begin, End
from satchel.staging.head import Head, read_head, read_scope
from satchel.staging.render import read_keys, render_keys, render_rows
from satchel.staging.users import Users
from satchel.staging.watermark import generations, never_read
from satchel.sync.binding import UserScope, user_scope
from satchel.sync.cursor import CursorState
from satchel.sync.images import Images, Part, SealedFrame, parts
from satchel.telemetry.request import note_rows

KEYS_PER_LINE = 2000
_NO_IMAGE: dict[str, Any] = {"image": 0, "image_frame": 0, "image_bucket": 0, "image_op": 0, "imaged": b""}
log = structlog.get_logger()


class StepLimits(msgspec.Struct, frozen=True):
    """How much one step sends."""

    rows_per_step: int
    rows_per_line: int
    frames_per_step: int = 16
    image_rows: int = 0
    """Of entities with at least so many rows, images of the columns in use are asked for; 0: never."""


class Caller(msgspec.Struct, frozen=True):
    """Who asks: a device, and the user behind it."""

    user_id: str
    device_id: str


class View(msgspec.Struct, frozen=True):
    """What one snapshot says: where the organization stands and what this user may have."""

    connection: Connection
    head: Head
    scope: Scope
    user: UserScope
    device_id: str
    limits: StepLimits
    has_images: bool
    """The device takes images, and this process has them."""


class Step(msgspec.Struct):
    """What one step came to: the state behind its lines, and frames that follow them."""

    state: CursorState
    lines: list[bytes]
    is_end: bool = False
    frames: list[Part] = []
    asks: list[ClientEntity] = []
    """Columns for which there should be images."""


class Sent(msgspec.Struct, frozen=True):
    """A part of an answer, and the state behind it."""

    state: CursorState
    content: bytes | SealedFrame


async def download(
    database: Database,
    users: Users,
    caller: Caller,
    state: CursorState | None,
    model_digest: str | None,
    *,
    limits: StepLimits,
    seal: Callable[[CursorState], str],
    images: Images | None = None,
) -> AsyncIterator[bytes | SealedFrame]:
    """The lines of an answer, a batch a step, from what the device has to the organization's head; frames in between
    are sent as they are. `images`: None where the device takes none."""
    is_first = True
    while True:
        async with database.snapshot() as connection:
            view = await _view(connection, users, caller, limits, has_images=images is not None)
            state, begins_reset = _usable(state, view.head)
            if begins_reset:
                await _require_home(connection)
                await _require_read(connection, view.scope.entity_by_name)
            digest = view.user.client_model.digest
            lines = _opening(view, model_digest, begins_reset=begins_reset) if is_first else []
            if not is_first and (begins_reset or digest != model_digest):
                return  # published or rebuilt meanwhile: the device comes again from its last cursor and is told
            model_digest = digest
            step = await _step(view, state)
        state = step.state
        lines += step.lines
        lines.append(
            codec.end_line(End(state.checkpoint, seal(state))) if step.is_end else codec.cursor_line(seal(state))
        )
        yield b"".join(lines)
        if step.is_end:
            return
        await _ask(database, step.asks)
        if images is not None:
            async for sent in _frames(images, step, seal):
                state = sent.state
                yield sent.content
        is_first = False


async def _frames(images: Images, step: Step, seal: Callable[[CursorState], str]) -> AsyncIterator[Sent]:
    """The frames of a step, a cursor behind each, with the state they leave. No transaction is open meanwhile: what
    leaves the bucket while they are sent leaves the device with the changes that follow."""
    state = step.state
    for part in step.frames:
        content = await _read(images, part)
        if content is None:
            # Its bucket comes row by row: a storage that does not answer delays no device.
            state = msgspec.structs.replace(state, image=0, image_frame=0, image_op=0)
            yield Sent(state, codec.cursor_line(seal(state)))
            return
        state = _behind(state, part)
        if content:
            yield Sent(state, SealedFrame(content))
        yield Sent(state, codec.cursor_line(seal(state)))


async def _read(images: Images, part: Part) -> bytes | None:
    try:
        return await images.read(part)
    except (StorageBusy, StorageMisconfigured) as error:
        log.warning("snapshot not read", reason=error.message)
        return None


def _behind(state: CursorState, part: Part) -> CursorState:
    is_last = part.number + 1 == len(part.snapshot.frames)
    if is_last:
        return msgspec.structs.replace(state, image=0, image_frame=0, image_op=part.snapshot.op)
    return msgspec.structs.replace(state, image_frame=part.number + 1)


async def _ask(database: Database, entities: Iterable[ClientEntity]) -> None:
    for entity in entities:
        async with database.transaction() as connection:
            await ask_for_projection(connection, entity, projection_digest(entity))


async def _view(connection: Connection, users: Users, caller: Caller, limits: StepLimits, *, has_images: bool) -> View:
    head, scope = await read_head(connection), await read_scope(connection)
    user = await users.find(connection, head, scope, caller.user_id)
    if user is None and scope.principals:
        await _require_read(connection, scope.principals.entities)
    bound = await user_scope(connection, scope, user)
    return View(connection, head, scope, bound, caller.device_id, limits, has_images)


async def _require_read(connection: Connection, entities: Iterable[str]) -> None:
    """Refuse to take rows away on the word of a copy that is not complete yet. Errors: StoreBusy."""
    if await never_read(connection, entities):
        raise StoreBusy("The organization's data is being read for the first time.", hint="Try again in a minute.")


async def _require_home(connection: Connection) -> None:
    """Refuse to begin anew at a place that the organization has left: the device's cursor is of the new one, and this
    process does not know it yet. Errors: StoreBusy."""
    if await fenced_by(connection):
        raise StoreBusy("The organization's database is moving to another server.", wait_seconds=1.0)


def _usable(state: CursorState | None, head: Head) -> tuple[CursorState, bool]:
    """A fresh start where there is no cursor; where it is of another staging database, or older than
    what is remembered, a reset, which begins now."""
    if state is None:
        return CursorState(epoch=head.epoch, checkpoint=head.op), False
    if state.epoch != head.epoch or not head.floor <= state.checkpoint <= head.op:
        return CursorState(epoch=head.epoch, checkpoint=head.op, is_reset=True), True
    return state, False


def _opening(view: View, model_digest: str | None, *, begins_reset: bool) -> list[bytes]:
    model = view.user.client_model
    lines = [codec.begin_line(Begin(view.head.op, model.digest, begins_reset))]
    if model_digest != model.digest:
        lines.append(codec.model_line(model))
    return lines


async def _step(view: View, state: CursorState) -> Step:
    state, lines = await _settle_buckets(view, state)
    budget = view.limits.rows_per_step
    if state.is_catching_up:
        state, count, tail_lines, is_complete = await _tail(view, state, budget)
        lines += tail_lines
        budget -= count
        if not is_complete:
            return Step(state, lines)
        state = msgspec.structs.replace(state, is_catching_up=False, checkpoint=view.head.op)
    step = Step(state, lines)
    while step.state.loading and budget > 0 and not step.frames:
        budget -= await _load(view, step, budget)
    if step.state.loading or budget <= 0:
        return step
    step.state, _, tail_lines, is_complete = await _tail(view, step.state, budget)
    step.lines += tail_lines
    if not is_complete:
        return step
    step.state, outcome_lines, is_complete = await _outcomes(view, step.state)
    step.lines += outcome_lines
    if is_complete:
        step.state, step.is_end = _at_the_head(view, step.state), True
    return step


async def _outcomes(view: View, state: CursorState) -> tuple[CursorState, list[bytes], bool]:
    """Verdicts on the device's edits: behind all rows of this snapshot, so that what was accepted is there already."""
    if state.verdict >= view.head.verdict:
        return msgspec.structs.replace(state, verdict=view.head.verdict), [], True
    limit = view.limits.rows_per_step
    found = await outcomes(view.connection, view.device_id, after=state.verdict, until=view.head.verdict, limit=limit)
    is_complete = len(found) < limit
    verdict = view.head.verdict if is_complete else found[-1][0]
    lines = [codec.outcome_line(outcome) for _, outcome in found]
    return msgspec.structs.replace(state, verdict=verdict), lines, is_complete


def _at_the_head(view: View, state: CursorState) -> CursorState:
    return msgspec.structs.replace(
        state,
        checkpoint=view.head.op,
        binding=view.head.binding,
        is_reset=False,
        known=b"",
        known_at=0,
        began_at=0,
        model=view.user.client_model.digest,
        base_model=view.head.model_digest,
    )


async def _tail(view: View, state: CursorState, budget: int) -> tuple[CursorState, int, list[bytes], bool]:
    """What changed in the held buckets behind the checkpoint: the state behind it, how many rows, whether it is all."""
    tail = await read_tail(
        view.connection,
        held=state.held_buckets,
        bound=list(view.user.entity_by_bucket),
        checkpoint=OpId(state.checkpoint),
        limit=budget,
    )
    lines = await _put_lines(view, ((entity, row) for entity, row, is_in_scope in tail.rows if is_in_scope))
    lines += await _remove_lines(view, ((entity, row) for entity, row, is_in_scope in tail.rows if not is_in_scope))
    return msgspec.structs.replace(state, checkpoint=tail.op), len(tail.rows), lines, tail.is_complete


async def _settle_buckets(view: View, state: CursorState) -> tuple[CursorState, list[bytes]]:
    """Take away what the user lost, note what is new, and load again what an entity's new client model changes."""
    entity_by_bucket = view.user.entity_by_bucket
    bound = set(entity_by_bucket)
    before, loading = set(state.held_buckets), set(state.loading_buckets)
    lost = (before | loading) - bound
    digests = await _digests(view)
    reshaped = {entity for entity in digests if digests[entity] != state.entities.get(entity)}
    held = {bucket for bucket in before & bound if entity_by_bucket[bucket] not in reshaped}
    # What is loaded again is not caught up with, so what went from it is told here, as for what is lost.
    left = sorted(lost | (before - held))
    rows = await lost_rows(view.connection, lost=left, held=sorted(bound), checkpoint=OpId(state.checkpoint))
    lines = await _remove_lines(view, rows) + _wipe_lines(state.entities, digests)
    new = bound - held - loading
    begins = bool(new) and not loading & bound
    loading = (loading & bound) | new
    is_behind = any(entity_by_bucket[b] == state.loading_entity and b <= state.at_bucket for b in new)
    if is_behind or state.entities != digests:
        state = msgspec.structs.replace(state, at_bucket=0, at_op=0)
    if state.entities != digests:
        state = msgspec.structs.replace(state, **_NO_IMAGE)  # of other columns, or of a table that is no more
    imaged = pack_buckets(set(state.imaged_buckets) & loading)
    state = msgspec.structs.replace(state, imaged=imaged)
    if state.image_bucket not in loading:
        state = msgspec.structs.replace(state, image=0, image_frame=0, image_bucket=0, image_op=0)
    if begins:
        known = await except_of(view.connection, sorted(before), sorted(reshaped))
        state = msgspec.structs.replace(
            state,
            is_catching_up=True,
            known=pack_buckets(known),
            known_at=state.checkpoint,
            began_at=view.head.op,
        )
    elif reshaped or lost:
        state = msgspec.structs.replace(state, known=b"")  # some of it may just have been taken away
    return msgspec.structs.replace(
        state, held=pack_buckets(held), loading=pack_buckets(loading), entities=digests
    ), lines


async def _digests(view: View) -> dict[str, str]:
    """What an entity's rows on a device depend on: the life of its staging table, and its client model."""
    lives = await generations(view.connection)
    entities = view.user.client_model.entities
    return {entity.name: f"{lives.get(entity.name, '')[:8]}/{entity.digest[:8]}" for entity in entities}


def _wipe_lines(sent: Mapping[str, str], now: Mapping[str, str]) -> list[bytes]:
    """A table that was rebuilt no longer knows what devices hold of it: they drop those rows and load anew."""
    rebuilt = [e for e in sorted(sent.keys() & now.keys()) if sent[e].split("/")[0] != now[e].split("/")[0]]
    return [codec.wipe_line(rebuilt)] if rebuilt else []


async def _load(view: View, step: Step, budget: int) -> int:
    """The next rows of the entity that is loading, small entities first; its buckets count as held at the end.

    Large buckets come as images first: frames follow the step, then what changed since they were sealed. Returns how
    much of the budget that took.
    """
    state = step.state
    entity = await _loading_entity(view, state)
    if entity != state.loading_entity:
        state = msgspec.structs.replace(state, loading_entity=entity, at_bucket=0, at_op=0, **_NO_IMAGE)
    loading = set(state.loading_buckets)
    buckets = loading & view.user.of_entity(entity)
    step.state = state
    if await _load_images(view, step, buckets):
        return 1
    state = step.state
    if state.image_bucket:
        return await _load_image_tail(view, step, budget)
    bucket, op = state.position
    known = Known(state.known_buckets, OpId(state.known_at), OpId(state.began_at))
    left = buckets - set(state.imaged_buckets)
    loaded = await load_buckets(view.connection, sorted(left), bucket=bucket, op=op, limit=budget, known=known)
    step.lines += await _put_lines(view, ((entity, row) for row in loaded.row_ids))
    if not loaded.is_complete:
        step.state = msgspec.structs.replace(state, at_bucket=loaded.bucket, at_op=loaded.op)
        return budget
    step.lines.append(codec.loaded_line(entity))
    step.state = msgspec.structs.replace(
        state,
        held=pack_buckets({*state.held_buckets, *buckets}),
        loading=pack_buckets(loading - buckets),
        loading_entity="",
        at_bucket=0,
        at_op=0,
        **_NO_IMAGE,
    )
    return max(len(loaded.row_ids), 1)


async def _load_images(view: View, step: Step, buckets: set[BucketId]) -> bool:
    """Let the next frames of an image follow the step; False where there are none to send."""
    state = step.state
    client = view.user.client_model.entity_by_name.get(state.loading_entity)
    if client is None or not view.has_images or (state.image_bucket and not state.image):
        return False
    snapshot = await _under_way(view, state, client) or await _next_image(view, step, client, buckets)
    if snapshot is None:
        step.state = msgspec.structs.replace(step.state, image=0, image_frame=0, image_bucket=0, image_op=0)
        return False
    if snapshot.id != state.image:
        state = msgspec.structs.replace(state, image=snapshot.id, image_frame=0, image_bucket=snapshot.bucket)
    rows = await unfit_rows(view.connection, snapshot, list(view.user.entity_by_bucket))
    unfit = await read_keys(view.connection, view.scope.entity_by_name[client.name], rows) if rows else []
    step.state = state
    step.frames = parts(snapshot, client, unfit, start=state.image_frame, count=view.limits.frames_per_step)
    return True


async def _under_way(view: View, state: CursorState, client: ClientEntity) -> Snapshot | None:
    """The snapshot whose frames the device is getting, while it is there; a bucket whose snapshot went comes anew."""
    snapshot = await find_snapshot(view.connection, state.image) if state.image else None
    return snapshot if snapshot and snapshot.projection == projection_digest(client) else None


async def _next_image(view: View, step: Step, client: ClientEntity, buckets: set[BucketId]) -> Snapshot | None:
    """An image of one of the buckets that were not begun yet, unless the device has most of the rows already."""
    state = step.state
    if state.at_bucket:
        return None
    projection = projection_digest(client)
    generation = (await generations(view.connection)).get(client.name, "")
    waiting = sorted(buckets - set(state.imaged_buckets))
    found = await newest_snapshots(view.connection, waiting, projection=projection, generation=generation)
    sizes = await entity_sizes(view.connection) if len(found) < len(waiting) and view.limits.image_rows else {}
    if view.limits.image_rows and sizes.get(table_name(client.name), 0) >= view.limits.image_rows:
        step.asks = [client]
    for snapshot in found:
        limit = snapshot.rows // 2 + 1
        if await known_rows(view.connection, client.name, state.known_buckets, limit=limit) < limit:
            return snapshot
    return None


async def _load_image_tail(view: View, step: Step, budget: int) -> int:
    """What came into an image's bucket, or changed in it, since it was sealed. What left it was not sent."""
    state = step.state
    bucket, op = BucketId(state.image_bucket), OpId(state.image_op)
    known = Known((), OpId(0), OpId(0))  # an image may have put an older state in the place of what is known
    loaded = await load_buckets(view.connection, [bucket], bucket=bucket, op=op, limit=budget, known=known)
    step.lines += await _put_lines(view, ((state.loading_entity, row) for row in loaded.row_ids))
    if not loaded.is_complete:
        step.state = msgspec.structs.replace(state, image_op=loaded.op)
        return budget
    imaged = pack_buckets({*state.imaged_buckets, bucket})
    step.state = msgspec.structs.replace(state, image_bucket=0, image_op=0, imaged=imaged)
    return max(len(loaded.row_ids), 1)


async def _loading_entity(view: View, state: CursorState) -> str:
    waiting = {view.user.entity_by_bucket[BucketId(b)] for b in state.loading_buckets}
    if state.loading_entity in waiting:
        return state.loading_entity
    sizes = await entity_sizes(view.connection)
    return min(waiting, key=lambda entity: (sizes.get(table_name(entity), 0), entity))


async def _put_lines(view: View, rows: Iterable[tuple[str, int]]) -> list[bytes]:
    lines: list[bytes] = []
    for name, row_ids in _by_entity(rows).items():
        client = view.user.client_model.entity_by_name.get(name)
        if client is None:
            continue
        columns = [attribute.name for attribute in client.attributes]
        entity = view.scope.entity_by_name[name]
        note_rows(len(row_ids))
        rendered = await render_rows(view.connection, entity, columns, row_ids, rows_per_line=view.limits.rows_per_line)
        lines += [codec.put_line(name, columns, [text]) for _, text in rendered]
    return lines


async def _remove_lines(view: View, rows: Iterable[tuple[str, int]]) -> list[bytes]:
    """Keys to drop. An entity that is no longer offered needs none: the device drops it with the client model."""
    lines: list[bytes] = []
    for name, row_ids in _by_entity(rows).items():
        if name not in view.user.client_model.entity_by_name:
            continue
        keys = await render_keys(view.connection, view.scope.entity_by_name[name], row_ids)
        lines += [codec.remove_line(name, keys[i : i + KEYS_PER_LINE]) for i in range(0, len(keys), KEYS_PER_LINE)]
    return lines


def _by_entity(rows: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for entity, row_id in rows:
        grouped.setdefault(entity, []).append(row_id)
    return grouped
