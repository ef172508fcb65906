"""Seal snapshots of large buckets, so that a device's first sync is bytes that are there already.

A snapshot is as of one op id: the rows of a bucket, sorted by key, in the columns that devices use, cut into frames of
about a megabyte. The object is written first, its row in the manifest last: a kill in between leaves an object that
nobody knows, which is swept.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog
import zstandard

from satchel.access.user_model import user_model
from satchel.buckets.snapshots import (
    Frame,
    Snapshot,
    asked_projections,
    drop_retired,
    forget_snapshots,
    frame_digest,
    keep_snapshot,
    large_buckets,
    last_look,
    note_look,
    retire_snapshots,
    snapshot_of_gzip,
    snapshot_paths,
    snapshots_in_use,
    tail_rows,
)
from satchel.database.pool import Connection
from satchel.jobs.organization import OrganizationWork
from satchel.model.client_model import ClientEntity
from satchel.model.ids import BucketId
from satchel.model.scope import Scope
from satchel.model.user import User
from satchel.protocol.codec import image_line
from satchel.protocol.images import make_image, projection_digest
from satchel.staging.head import has_scope, read_head, read_scopes
from satchel.staging.render import read_bucket, row_bytes
from satchel.staging.watermark import generations
from satchel.storage import Objects

log = structlog.get_logger()
FRAME_BYTES = 1_200_000
"""Of rows as JSON; an image is somewhat smaller."""
MAX_FRAME_ROWS = 20_000
ORPHAN_SECONDS = 6 * 3600.0
"""How long an object may stand without a row in the manifest: no upload takes so long."""


class Sealing(msgspec.Struct, frozen=True, kw_only=True):
    """How snapshots are sealed and kept."""

    objects: Objects
    min_rows: int
    tail_share: float
    """Sealed anew when so large a part of its rows changed."""
    compression_level: int
    grace_seconds: float
    """How long one that was replaced is kept for downloads under way."""
    forget_seconds: float
    """How long columns that no device asks for any more keep their images, and gzip frames stand before they are made
    anew for who still needs them."""
    frame_bytes: int = FRAME_BYTES


class _Target(msgspec.Struct, frozen=True):
    """A bucket that wants an image."""

    bucket: BucketId
    entity: ClientEntity
    generation: str
    projection: str


async def seal_snapshots(work: OrganizationWork, sealing: Sealing) -> int:
    """Seal what is due, drop what nobody needs any more; returns how many were sealed. Errors: RetryLater."""
    async with work.staging.connection() as connection:
        if not await has_scope(connection):
            return 0
    await _sweep(work, sealing)
    due = await _look(work, sealing)
    for target in due:
        await _seal(work, sealing, target)
    return len(due)


def snapshot_prefix(work: OrganizationWork) -> str:
    """Where the organization's snapshots stand."""
    return f"organizations/{work.organization.database_name}/snapshots/"


async def _look(work: OrganizationWork, sealing: Sealing) -> list[_Target]:
    """What is to be sealed. Order: what no bucket wants any more is retired, and the look noted, in one transaction."""
    async with work.staging.transaction() as connection:
        head, scopes = await read_head(connection), await read_scopes(connection)
        asked = await asked_projections(connection, sealing.forget_seconds)
        looked = await last_look(connection)
        least = max(1.0, sealing.min_rows * min(sealing.tail_share, 1.0))
        if looked and looked[1] == scopes.version and head.op - looked[0] < least:
            return []
        lives = await generations(connection)
        wanted = {
            (bucket, projection_digest(entity)): _Target(bucket, entity, lives.get(name, ""), projection_digest(entity))
            for bucket, name, _ in await large_buckets(connection, sealing.min_rows)
            for entity in _projections(scopes.in_force, name, asked)
        }
        standing = {(s.bucket, s.projection): s for s in await snapshots_in_use(connection)}
        fresh = {
            key: standing[key]
            for key, target in wanted.items()
            if key in standing and standing[key].generation == target.generation
        }
        await retire_snapshots(connection, [s.id for key, s in standing.items() if key not in fresh])
        due = [
            target
            for key, target in wanted.items()
            if key not in fresh or await _is_stale(connection, fresh[key], sealing)
        ]
        if not due:
            await note_look(connection, head.op, scopes.version)
    return due


async def _is_stale(connection: Connection, snapshot: Snapshot, sealing: Sealing) -> bool:
    limit = max(1, int(snapshot.rows * sealing.tail_share))
    return await tail_rows(connection, snapshot.bucket, snapshot.op, limit=limit) >= limit


def _projections(scope: Scope, entity: str, asked: Iterable[ClientEntity]) -> list[ClientEntity]:
    """The columns of an entity that devices use: of each profile without secured ones, and what devices asked for."""
    staged = scope.entity_by_name.get(entity)
    found: dict[str, ClientEntity] = {}
    for profile in scope.offered:
        offered = user_model(scope, User(id="", profiles=frozenset({profile}))).entity_by_name.get(entity)
        if offered is not None:
            found.setdefault(projection_digest(offered), offered)
    for one in asked:
        if one.name == entity and staged and {a.name for a in one.attributes} <= staged.attribute_by_name.keys():
            found.setdefault(projection_digest(one), one)
    return list(found.values())


async def _seal(work: OrganizationWork, sealing: Sealing, target: _Target) -> None:
    """Write the image, then its manifest. Memory: one frame; the database's snapshot is held meanwhile."""
    path = f"{snapshot_prefix(work)}{target.bucket}-{uuid.uuid4().hex}"
    frames: list[Frame] = []
    async with work.staging.snapshot() as connection:
        op = (await read_head(connection)).op
        if (await generations(connection)).get(target.entity.name, "") != target.generation:
            return  # rebuilt meanwhile
        chunks = _frames(connection, sealing, target, frames)
        await sealing.objects.put_stream(path, chunks)
    if not frames:  # it was emptied meanwhile
        await sealing.objects.delete(path)
        return
    rows, size = sum(frame.rows for frame in frames), sum(frame.size for frame in frames)
    snapshot = Snapshot(0, target.bucket, target.generation, target.projection, op, rows, size, path, frames)
    async with work.staging.transaction() as connection:
        await keep_snapshot(connection, snapshot)
    log.info(
        "snapshot sealed",
        organization=work.organization.name,
        entity=target.entity.name,
        rows=rows,
        size_bytes=size,
        op_id=op,
    )


async def _frames(
    connection: Connection, sealing: Sealing, target: _Target, frames: list[Frame]
) -> AsyncIterator[bytes]:
    """The frames as bytes, one after another, each noted in `frames`."""
    scope = (await read_scopes(connection)).maintained
    entity = scope.entity_by_name[target.entity.name]
    columns = [attribute.name for attribute in target.entity.attributes]
    average = max(1.0, await row_bytes(connection, entity))
    at_once = max(1, min(MAX_FRAME_ROWS, int(sealing.frame_bytes / average)))
    offset = 0
    async for rows in read_bucket(connection, entity, columns, target.bucket, rows_at_once=at_once):
        first_key = tuple(str(part) for part in rows[0][len(columns) :])
        content = await asyncio.to_thread(_frame, target.entity, columns, rows, sealing.compression_level)
        frames.append(Frame(offset, len(content), len(rows), first_key, frame_digest(content)))
        offset += len(content)
        yield content


def _frame(entity: ClientEntity, columns: Sequence[str], rows: Sequence[Sequence[Any]], level: int) -> bytes:
    image = make_image(entity, (row[: len(columns)] for row in rows))
    line = image_line(entity.name, columns, len(rows), image)
    return zstandard.ZstdCompressor(level=level, write_content_size=True).compress(line)


async def _sweep(work: OrganizationWork, sealing: Sealing) -> None:
    """Delete snapshots retired long enough ago, manifest first; forget those whose objects are gone, so that they are
    sealed anew; delete objects that no manifest knows, halves of some, and gzip frames that are old or whose snapshot
    was deleted."""
    async with work.staging.transaction() as connection:
        dropped = await drop_retired(connection, sealing.grace_seconds)
        expected = await snapshot_paths(connection)
    for path in dropped:
        await sealing.objects.delete(path)
    there = {o.path: o.modified_at async for o in sealing.objects.listed(snapshot_prefix(work))}
    if gone := expected - there.keys():
        log.warning("snapshots are gone from object storage", organization=work.organization.name, count=len(gone))
        async with work.staging.transaction() as connection:
            await forget_snapshots(connection, gone)
    await _sweep_gzip(sealing, there, dropped)
    too_old = datetime.now(UTC) - timedelta(seconds=max(ORPHAN_SECONDS, sealing.grace_seconds))
    await sealing.objects.delete_unfinished(snapshot_prefix(work), too_old)
    old = [path for path, modified_at in there.items() if modified_at < too_old]
    if not old:
        return
    async with work.staging.connection() as connection:
        known = await snapshot_paths(connection)
    for path in old:
        if (snapshot_of_gzip(path) or path) not in known:
            await sealing.objects.delete(path)


async def _sweep_gzip(sealing: Sealing, there: Mapping[str, datetime], dropped: Sequence[str]) -> None:
    too_old = datetime.now(UTC) - timedelta(seconds=sealing.forget_seconds)
    for path, modified_at in there.items():
        snapshot = snapshot_of_gzip(path)
        if snapshot is not None and (snapshot in dropped or modified_at < too_old):
            await sealing.objects.delete(path)
