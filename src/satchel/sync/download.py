"""A download: step by step from what a device has to where the organization stands.

One step is one snapshot of the staging database and ends in a cursor: a slow device holds no transaction, a broken
answer resumes. In a step: rows of buckets the user lost go away, new buckets are loaded, then changes behind the
checkpoint follow in op order. The step that reaches the head ends the download: all it did not send before is sent in
this one snapshot, so the device's copy equals the scope as of its checkpoint.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping

import msgspec
import structlog

from satchel.buckets.members import except_of, lost_rows, read_tail
from satchel.buckets.snapshots import ask_for_projection
from satchel.database.copying.fence import fenced_by
from satchel.database.pool import Connection, Database
from satchel.errors import StorageBusy, StorageMisconfigured, StoreBusy
from satchel.model.client_model import ClientEntity
from satchel.model.ids import OpId
from satchel.model.packing import pack_buckets
from satchel.protocol import codec
from satchel.protocol.compression import SealedFrame
from satchel.protocol.images import projection_digest
from satchel.protocol.messages import Begin, End
from satchel.staging.head import Head, read_head, read_scope
from satchel.staging.users import Users
from satchel.staging.watermark import generations, never_read
from satchel.sync.binding import user_scope
from satchel.sync.cursor import CursorState
from satchel.sync.images import Part, ReadFrame
from satchel.sync.loading import load
from satchel.sync.step import NO_IMAGE, Caller, Step, StepLimits, View, put_lines, remove_lines
from satchel.sync.verdicts import verdict_lines

log = structlog.get_logger()


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
    read_frame: ReadFrame | None = None,
) -> AsyncIterator[bytes | SealedFrame]:
    """The lines of an answer, a batch a step, from what the device has to the organization's head; frames in between
    are sent as they are. `read_frame`: None where the device takes no images."""
    is_first = True
    while True:
        async with database.snapshot() as connection:
            view = await _view(connection, users, caller, limits, has_images=read_frame is not None)
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
        if read_frame is not None:
            async for sent in _frames(read_frame, step, seal):
                state = sent.state
                yield sent.content
        is_first = False


async def _frames(read_frame: ReadFrame, step: Step, seal: Callable[[CursorState], str]) -> AsyncIterator[Sent]:
    """The frames of a step, a cursor behind each, with the state they leave. No transaction is open meanwhile: what
    leaves the bucket while they are sent leaves the device with the changes that follow."""
    state = step.state
    for part in step.frames:
        frame = await _read(read_frame, part)
        if frame is None:
            # Its bucket comes row by row: a storage that does not answer delays no device.
            state = msgspec.structs.replace(state, image=0, image_frame=0, image_op=0)
            yield Sent(state, codec.cursor_line(seal(state)))
            return
        state = _behind(state, part)
        if frame.content:
            yield Sent(state, frame)
        yield Sent(state, codec.cursor_line(seal(state)))


async def _read(read_frame: ReadFrame, part: Part) -> SealedFrame | None:
    try:
        return await read_frame(part)
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
        # Not the head: since the loading began, rows may have left buckets that are still to be loaded.
        state = msgspec.structs.replace(state, is_catching_up=False, checkpoint=state.began_at)
    step = Step(state, lines)
    while step.state.loading and budget > 0 and not step.frames:
        budget -= await load(view, step, budget)
    if step.state.loading or budget <= 0:
        return step
    step.state, _, tail_lines, is_complete = await _tail(view, step.state, budget)
    step.lines += tail_lines
    if not is_complete:
        return step
    step.state, outcome_lines, is_complete = await verdict_lines(view, step.state)
    step.lines += outcome_lines
    if is_complete:
        step.state, step.is_end = _at_the_head(view, step.state), True
    return step


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
    lines = await put_lines(view, ((entity, row) for entity, row, is_in_scope in tail.rows if is_in_scope))
    lines += await remove_lines(view, ((entity, row) for entity, row, is_in_scope in tail.rows if not is_in_scope))
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
    told_to = min(state.checkpoint, state.began_at) if state.is_catching_up else state.checkpoint
    rows = await lost_rows(view.connection, lost=left, held=sorted(bound), checkpoint=OpId(told_to))
    lines = await remove_lines(view, rows) + _wipe_lines(state.entities, digests)
    new = bound - held - loading
    begins = bool(new) and not loading & bound
    loading = (loading & bound) | new
    is_behind = any(entity_by_bucket[b] == state.loading_entity and b <= state.at_bucket for b in new)
    if is_behind or state.entities != digests:
        state = msgspec.structs.replace(state, at_bucket=0, at_op=0)
    if state.entities != digests:
        state = msgspec.structs.replace(state, **NO_IMAGE)  # of other columns, or of a table that is no more
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
