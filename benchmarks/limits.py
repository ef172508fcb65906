"""What could be reached at best on this machine: the same rows without any of our work."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import apsw
import msgspec
import psycopg

from benchmarks.data import COLUMNS, Contact
from satchel.database.embedded import EmbeddedPostgres

_TYPES = {"statecode": "integer", "credit": "real", "ver": "integer", "optout": "boolean"}
_CACHE_KIB = 64 * 1024


def executemany(rows: Sequence[Contact], file: Path) -> float:
    """Rows a second: rows that lie in memory as tuples into a typed SQLite table in one transaction, then 3 indexes.

    The page cache is as large as a device's.
    """
    values = [contact.values() for contact in rows]
    connection = apsw.Connection(str(file))
    for pragma, value in (("journal_mode", "wal"), ("synchronous", "normal"), ("cache_size", -_CACHE_KIB)):
        connection.pragma(pragma, value)
    columns = ", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in COLUMNS)
    connection.execute(f"create table contacts ({columns})")
    marks = ",".join("?" * len(COLUMNS))
    began = time.perf_counter()
    with connection:
        connection.executemany(f"insert into contacts values ({marks})", values)  # noqa: S608
        connection.execute("create unique index key on contacts (id)")
        connection.execute("create index account on contacts (account); create index owner on contacts (owner)")
    seconds = time.perf_counter() - began
    connection.close()
    return len(values) / seconds


def raw_files(rows: int, wire_bytes: int, device_bytes: int, folder: Path) -> float:
    """Rows a second: read a file as long as the answer, write one as long as the device's database, to the disk."""
    source, target = folder / "wire", folder / "device"
    source.write_bytes(os.urandom(wire_bytes))
    content = os.urandom(device_bytes)
    began = time.perf_counter()
    source.read_bytes()
    with target.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    source.unlink()
    target.unlink()
    return rows / seconds


def copies(rows: Sequence[Contact], folder: Path) -> tuple[float, float]:
    """Rows a second of PostgreSQL's COPY: into a table of ready-made JSON with a key, and out of it again."""
    lines = [(contact.id, msgspec.json.encode(contact).decode()) for contact in rows]
    with EmbeddedPostgres(folder / "postgres") as server, psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("create table plain (id uuid primary key, body text not null)")
        began = time.perf_counter()
        with connection.cursor().copy("copy plain from stdin") as into:
            for line in lines:
                into.write_row(line)
        middle = time.perf_counter()
        with connection.cursor().copy("copy (select body from plain) to stdout") as out:
            for _ in out:
                pass
        return len(lines) / (middle - began), len(lines) / (time.perf_counter() - middle)
