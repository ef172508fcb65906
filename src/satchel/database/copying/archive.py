"""One database in object storage: what it is made of, and the rows of each table, as of one moment.

`PLACE/made_of.json` and, for each table, `PLACE/SCHEMA.TABLE.copy.zst` (text form of PostgreSQL's COPY). Streamed both
ways, in bounded memory; each object has its size and its SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable

import msgspec
import obstore
import zstandard
from obstore.store import ObjectStore
from psycopg import sql

from satchel.database.copying import definition as making
from satchel.database.copying.definition import Definition, Table, read_definition
from satchel.database.copying.rows import agree_on_forms
from satchel.database.pool import Connection
from satchel.errors import BackupDamaged

PIECE_BYTES = 1024 * 1024
MADE_OF = "made_of.json"


class Stored(msgspec.Struct, frozen=True):
    """An object of a backup."""

    path: str
    size_bytes: int
    sha256: str


class Archive:
    """Objects of a backup: written and read through, each checked."""

    def __init__(self, store: ObjectStore) -> None:
        """The store is the backup's own."""
        self.store = store

    async def write(self, path: str, pieces: AsyncIterator[bytes]) -> Stored:
        """Write an object as it comes."""
        digest, size = hashlib.sha256(), 0
        async with obstore.open_writer_async(self.store, path) as writer:
            async for piece in pieces:
                digest.update(piece)
                size += len(piece)
                await writer.write(piece)
        return Stored(path, size, digest.hexdigest())

    async def read(self, stored: Stored) -> AsyncIterator[bytes]:
        """Its bytes; the end is reached only where all of it was right. Errors: BackupDamaged."""
        digest, size = hashlib.sha256(), 0
        try:
            # In a thread: what its asynchronous face leaves behind aborts a process that ends soon after.
            answer = await asyncio.to_thread(obstore.get, self.store, stored.path)
            pieces = iter(answer.stream(min_chunk_size=PIECE_BYTES))
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                digest.update(piece)
                size += len(piece)
                yield bytes(piece)
        except FileNotFoundError as error:
            raise BackupDamaged(f"{stored.path} is missing.") from error
        if (size, digest.hexdigest()) != (stored.size_bytes, stored.sha256):
            raise BackupDamaged(f"{stored.path} is not what was written.")

    async def whole(self, stored: Stored) -> bytes:
        """A small object."""
        return b"".join([piece async for piece in self.read(stored)])


async def dump(
    connection: Connection, archive: Archive, place: str, *, schemas: list[str] | None = None
) -> list[Stored]:
    """Write a database as of one moment. Order: the moment is one snapshot, held until all of it is written."""
    await agree_on_forms(connection)
    async with connection.transaction():
        await connection.execute("set transaction isolation level repeatable read, read only")
        made_of = await read_definition(connection, schemas=schemas)
        stored = [await archive.write(_file(place, table), _rows(connection, table)) for table in made_of.tables]
        # Sequences know no snapshot: read after the rows, they stand behind every id that was used.
        made_of = await read_definition(connection, schemas=schemas)
    text = msgspec.json.encode(made_of)
    return [await archive.write(f"{place}/{MADE_OF}", _once(text)), *stored]


async def load(
    connection: Connection, archive: Archive, stored: dict[str, Stored], place: str, on_table: Callable[[str], None]
) -> None:
    """Make a database of what was written, in the caller's transaction. Errors: BackupDamaged."""
    await agree_on_forms(connection)
    made_of = msgspec.json.decode(await archive.whole(_of(stored, f"{place}/{MADE_OF}")), type=Definition)
    for statement in making.tables_made(made_of):
        await connection.execute(statement)
    for table in made_of.tables:
        on_table(table.name)
        into = sql.SQL("copy {} ({}) from stdin").format(table.identifier, _names(table))
        async with connection.cursor() as cursor, cursor.copy(into) as copy:
            async for piece in decompressed(archive.read(_of(stored, _file(place, table)))):
                await copy.write(piece)
    for statements in (
        making.constraints_made,
        making.references_made,
        making.references_checked,
        making.sequences_set,
    ):
        for statement in statements(made_of):
            await connection.execute(statement)


async def decompressed(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What was compressed. Errors: BackupDamaged."""
    expand = zstandard.ZstdDecompressor().decompressobj()
    async for piece in pieces:
        for start in range(0, len(piece), PIECE_BYTES // 8):
            try:
                found = await asyncio.to_thread(expand.decompress, piece[start : start + PIECE_BYTES // 8])
            except zstandard.ZstdError as error:
                raise BackupDamaged("A file of the backup cannot be decompressed.") from error
            if found:
                yield found


async def _rows(connection: Connection, table: Table) -> AsyncIterator[bytes]:
    compress = zstandard.ZstdCompressor(level=3).compressobj()
    taking = sql.SQL("copy (select {} from {}) to stdout").format(_names(table), table.identifier)
    held: list[bytes] = []
    size = 0
    async with connection.cursor() as cursor, cursor.copy(taking) as copy:
        async for data in copy:
            held.append(bytes(data))
            size += len(data)
            if size >= PIECE_BYTES:
                yield await asyncio.to_thread(compress.compress, b"".join(held))
                held, size = [], 0
    yield compress.compress(b"".join(held)) + compress.flush()


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _of(stored: dict[str, Stored], path: str) -> Stored:
    found = stored.get(path)
    if found is None:
        raise BackupDamaged(f"{path} is not in the backup.")
    return found


def _file(place: str, table: Table) -> str:
    return (
        f"{place}/{table.schema}.{hashlib.sha256(table.name.encode()).hexdigest()[:12]}-{_plain(table.name)}.copy.zst"
    )


def _plain(name: str) -> str:
    return "".join(c for c in name if c.isalnum() or c in "_-")[:60]


def _names(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in table.stored)
