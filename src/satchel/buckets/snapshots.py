"""The manifest of snapshots: which buckets have a sealed image, as of which op, and where its frames stand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from satchel.database.pool import Connection
from satchel.database.queries import load_queries
from satchel.model.client_model import ClientEntity
from satchel.model.ids import BucketId, OpId

_SQL = load_queries(__file__)
_GZIP_END = ".gzip"


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """A part of a snapshot that is sent as it is."""

    offset: int
    size: int
    rows: int
    first_key: tuple[str, ...]
    """Of its rows, by which they are sorted: each part as text, compared by code points."""
    digest: str = ""
    """Of its bytes; empty where it was sealed before there were digests."""

    def fits(self, content: bytes) -> bool:
        """These bytes are what was sealed."""
        return len(content) == self.size and self.digest in {"", frame_digest(content)}


def frame_digest(content: bytes) -> str:
    """A hash that finds what a storage did to the bytes of a frame. Cost: about a millisecond a megabyte."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def gzip_path(path: str, number: int) -> str:
    """Where a frame of a snapshot stands as gzip, once somebody needed it."""
    return f"{path}.{number}{_GZIP_END}"


def snapshot_of_gzip(path: str) -> str | None:
    """The path of the snapshot whose frame stands here as gzip; None where this is none."""
    return path.rsplit(".", 2)[0] if path.endswith(_GZIP_END) else None


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """One sealed image."""

    id: int
    bucket: BucketId
    generation: str
    projection: str
    op: OpId
    rows: int
    size_bytes: int
    path: str
    frames: list[Frame]


async def large_buckets(connection: Connection, rows: int) -> list[tuple[BucketId, str, int]]:
    """Buckets (with entity and rows) of at least so many rows. Cost: one pass over all members."""
    cursor = await connection.execute(_SQL["large"], {"rows": rows})
    return [(BucketId(bucket), entity, count) for bucket, entity, count in await cursor.fetchall()]


async def snapshots_in_use(connection: Connection) -> list[Snapshot]:
    """All snapshots that new downloads get."""
    return [_snapshot(row) for row in await (await connection.execute(_SQL["in_use"])).fetchall()]


async def newest_snapshots(
    connection: Connection, buckets: Sequence[BucketId], *, projection: str, generation: str
) -> list[Snapshot]:
    """The images of these columns, for those of the buckets that have one."""
    parameters = {"buckets": list(buckets), "projection": projection, "generation": generation}
    cursor = await connection.execute(_SQL["newest"], parameters)
    return [_snapshot(row) for row in await cursor.fetchall()]


async def find_snapshot(connection: Connection, snapshot_id: int) -> Snapshot | None:
    """A snapshot, also a retired one; None once it is dropped."""
    row = await (await connection.execute(_SQL["by_id"], {"id": snapshot_id})).fetchone()
    return _snapshot(row) if row else None


async def keep_snapshot(connection: Connection, snapshot: Snapshot) -> None:
    """Put a snapshot whose object is written in the place of the one before. Order: the caller's transaction."""
    parameters = {name: getattr(snapshot, name) for name in snapshot.__struct_fields__}
    parameters["frames"] = msgspec.json.encode(snapshot.frames).decode()
    await connection.execute(_SQL["retire_bucket"], parameters)
    await connection.execute(_SQL["insert"], parameters)


async def retire_snapshots(connection: Connection, ids: Sequence[int]) -> None:
    """Give these to no new download."""
    if ids:
        await connection.execute(_SQL["retire"], {"ids": list(ids)})


async def drop_retired(connection: Connection, seconds: float) -> list[str]:
    """Drop what was retired so long ago; returns the paths of the objects."""
    return [row[0] for row in await (await connection.execute(_SQL["drop_retired"], {"seconds": seconds})).fetchall()]


async def forget_snapshots(connection: Connection, paths: Iterable[str]) -> None:
    """Forget snapshots whose objects are gone, and look at all buckets again. Order: the caller's transaction."""
    await connection.execute(_SQL["forget"], {"paths": sorted(paths)})
    await connection.execute(_SQL["forget_look"])


async def snapshot_paths(connection: Connection) -> set[str]:
    """The objects of all snapshots."""
    return {row[0] for row in await (await connection.execute(_SQL["paths"])).fetchall()}


async def count_snapshots(connection: Connection) -> dict[str, int]:
    """How many there are: `current` ones, and `retired` ones that are kept for downloads under way."""
    return dict(await (await connection.execute(_SQL["count_by_state"])).fetchall())


async def tail_rows(connection: Connection, bucket: BucketId, op: OpId, *, limit: int) -> int:
    """How many rows of a bucket changed behind an op, at most `limit`."""
    return await _count(connection, "tail_rows", {"bucket": bucket, "op": op, "limit": limit})


async def known_rows(connection: Connection, entity: str, buckets: Sequence[BucketId], *, limit: int) -> int:
    """How many rows of an entity there are in these buckets, at most `limit`."""
    if not buckets:
        return 0
    return await _count(connection, "known_rows", {"entity": entity, "buckets": list(buckets), "limit": limit})


async def unfit_rows(connection: Connection, snapshot: Snapshot, bound: Sequence[BucketId]) -> list[int]:
    """Rows of a snapshot that must not be sent: what left the bucket since, and what changed since where the user has
    it by another bucket as well, which may have brought it already. Cost follows what changed since."""
    parameters = {"bucket": snapshot.bucket, "op": snapshot.op, "bound": list(bound)}
    return [row[0] for row in await (await connection.execute(_SQL["unfit"], parameters)).fetchall()]


async def ask_for_projection(connection: Connection, entity: ClientEntity, digest: str) -> None:
    """Note that devices use these columns of an entity: its large buckets are to have images of them."""
    columns = msgspec.json.encode(entity).decode()
    await connection.execute(_SQL["ask"], {"entity": entity.name, "digest": digest, "columns": columns})


async def asked_projections(connection: Connection, keep_seconds: float) -> list[ClientEntity]:
    """The columns that devices asked for, without those that none did for a long time."""
    await connection.execute(_SQL["forget_asked"], {"seconds": keep_seconds})
    rows = await (await connection.execute(_SQL["asked"])).fetchall()
    return [msgspec.json.decode(row[0], type=ClientEntity) for row in rows]


async def last_look(connection: Connection) -> tuple[OpId, int] | None:
    """The op and the scope's version when all buckets were last looked at; None: never, or other columns were asked
    for since."""
    row = await (await connection.execute(_SQL["looked"])).fetchone()
    if row is None or await _count(connection, "newest_asked", {}):
        return None
    return OpId(row[0]), int(row[1])


async def note_look(connection: Connection, op: OpId, scope_version: int) -> None:
    """Note that all buckets were looked at."""
    await connection.execute(_SQL["note_look"], {"op": op, "scope_version": scope_version})


async def _count(connection: Connection, name: str, parameters: dict[str, object]) -> int:
    row = await (await connection.execute(_SQL[name], parameters)).fetchone()
    return int(row[0]) if row else 0


def _snapshot(row: Sequence[object]) -> Snapshot:
    *fields, frames = row
    return msgspec.convert([*fields, msgspec.json.decode(str(frames))], Snapshot)
