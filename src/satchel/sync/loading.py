"""Loading new buckets: images first, then what changed since they were sealed, row by row what has none.

One entity after another, small ones first; each call stands in the snapshot of its step.
"""

from __future__ import annotations

import msgspec

from satchel.buckets.members import Known, entity_sizes, load_buckets
from satchel.buckets.snapshots import Snapshot, find_snapshot, known_rows, newest_snapshots, unfit_rows
from satchel.database.columns import table_name
from satchel.model.client_model import ClientEntity
from satchel.model.ids import BucketId, OpId
from satchel.model.packing import pack_buckets
from satchel.protocol import codec
from satchel.protocol.images import projection_digest
from satchel.staging.render import read_keys
from satchel.staging.watermark import generations
from satchel.sync.cursor import CursorState
from satchel.sync.images import parts
from satchel.sync.step import NO_IMAGE, Step, View, put_lines


async def load(view: View, step: Step, budget: int) -> int:
    """The next rows of the entity that is loading, small entities first; its buckets count as held at the end.

    Large buckets come as images first: frames follow the step, then what changed since they were sealed. Returns how
    much of the budget that took.
    """
    state = step.state
    entity = await _loading_entity(view, state)
    if entity != state.loading_entity:
        state = msgspec.structs.replace(state, loading_entity=entity, at_bucket=0, at_op=0, **NO_IMAGE)
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
    step.lines += await put_lines(view, ((entity, row) for row in loaded.row_ids))
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
        **NO_IMAGE,
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
    is_fit = snapshot and snapshot.frames and snapshot.projection == projection_digest(client)
    return snapshot if is_fit else None


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
    for snapshot in (each for each in found if each.frames):
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
    step.lines += await put_lines(view, ((state.loading_entity, row) for row in loaded.row_ids))
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
