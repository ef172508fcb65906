"""A device as the protocol describes it, in a few lines: what stands before a cursor counts with that cursor."""

from __future__ import annotations

import json
import random
import uuid
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import apsw
import zstandard

from satchel.database.pool import Database
from satchel.protocol.compression import SealedFrame
from satchel.staging.users import Users
from satchel.sync.cursor import CursorSeal
from satchel.sync.download import download
from satchel.sync.images import Images
from satchel.sync.step import Caller, StepLimits

Line = dict[str, Any]


class LineDevice:
    """Holds rows by entity and key, each a mapping of columns."""

    def __init__(self, user: str, images: Images | None = None, encoding: str = "zstd") -> None:
        self.user = user
        self.images = images
        self.encoding = encoding
        self.types: dict[str, dict[str, str]] = {}
        self.rows_in_images = 0
        self.seal = CursorSeal([b"k" * 32], "org", f"device of {user}")
        self.cursor: str | None = None
        self.model: str | None = None
        self.keys: dict[str, list[str]] = {}
        self.columns: dict[str, set[str]] = {}
        self.rows: dict[str, dict[Any, dict[str, Any]]] = {}
        self.rows_put = 0

    def apply(self, lines: list[Line]) -> bool:
        """Take the lines of one answer, or a part of them; True where they end it."""
        waiting: list[Line] = []
        for line in lines:
            if "cursor" in line or "end" in line:
                for one in waiting:
                    self._apply_one(one)
                waiting = []
                self.cursor = line["cursor"] if "cursor" in line else line["end"]["cursor"]
                if "end" in line:
                    return True
            else:
                waiting.append(line)
        return False

    def _apply_one(self, line: Line) -> None:
        if "begin" in line:
            assert not line["begin"].get("reset")
            self.model = line["begin"]["model"]
        if "model" in line:
            self._migrate(line["model"])
        if "put" in line:
            keys = [line["columns"].index(name) for name in self.keys[line["put"]]]
            for row in line["rows"]:
                key = row[keys[0]] if len(keys) == 1 else tuple(row[at] for at in keys)
                self.rows[line["put"]][key] = dict(zip(line["columns"], row, strict=True))
                self.rows_put += 1
        if "remove" in line:
            for key in line["keys"]:
                self.rows[line["remove"]].pop(tuple(key) if isinstance(key, list) else key, None)
        for name in line.get("wipe", []):
            self.rows[name].clear()

    def _migrate(self, model: Line) -> None:
        self.keys = {entity["name"]: entity["key"] for entity in model["entities"]}
        self.columns = {entity["name"]: {a["name"] for a in entity["attributes"]} for entity in model["entities"]}
        for name in self.rows.keys() - self.keys.keys():
            del self.rows[name]
        for name, columns in self.columns.items():
            rows = self.rows.setdefault(name, {})
            for key, row in rows.items():
                rows[key] = {column: row.get(column) for column in columns}

    async def answer(self, database: Database, limits: StepLimits) -> AsyncIterator[list[Line]]:
        """The lines that a sync gets, batch by batch, not applied."""
        state = self.seal.open(self.cursor) if self.cursor else None
        batches = download(
            database,
            Users(),
            Caller(self.user, "line"),
            state,
            self.model,
            limits=limits,
            seal=self.seal.seal,
            read_frame=self.images.reader(self.encoding) if self.images else None,
        )
        try:
            async for batch in batches:
                lines = [self.opened(batch)] if isinstance(batch, SealedFrame) else batch.splitlines()
                read = [line if isinstance(line, dict) else json.loads(line) for line in lines]
                for line in read:
                    for each in line.get("model", {}).get("entities", []):
                        self.types[each["name"]] = {a["name"]: a["type"] for a in each["attributes"]}
                yield read
        finally:
            await batches.aclose()  # type: ignore[attr-defined]

    def opened(self, frame: SealedFrame) -> Line:
        """A sealed frame as the line that puts the same rows."""
        assert frame.encoding == self.encoding
        reader = zstandard.ZstdDecompressor() if self.encoding == "zstd" else zlib.decompressobj(-15)
        plain = reader.decompress(frame.content)
        head, _, image = plain.partition(b"\n")
        line = json.loads(head)
        assert len(image) == line["size"]
        guids, rest = image[: 16 * line.get("guids", 0)], image[16 * line.get("guids", 0) :]
        for start in range(0, len(guids), 16):
            rest = rest.replace(
                bytes.fromhex(line["mark"]), str(uuid.UUID(bytes=guids[start : start + 16])).encode(), 1
            )
        image = rest
        connection = apsw.Connection(":memory:")
        connection.deserialize("main", image)
        names = ", ".join(f'"{name}"' for name in line["columns"])
        rows = connection.execute(f"select {names} from image").fetchall()
        assert len(rows) == line["count"] > 0
        self.rows_in_images += len(rows)
        types = [self.types[line["image"]][name] for name in line["columns"]]
        put = [[as_told(kind, value) for kind, value in zip(types, row, strict=True)] for row in rows]
        return {"put": line["image"], "columns": line["columns"], "rows": put, "sealed": True}

    async def sync(
        self,
        database: Database,
        r: random.Random | None = None,
        *,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
        check: Callable[[list[Line]], None] | None = None,
    ) -> None:
        """Sync to the end. With `r` in steps of random size, cut off at random places, while `meanwhile` acts."""
        for _ in range(2000):
            size = (r.choice([1, 3, 7, 1000]), r.choice([1, 3])) if r else (1000, 100)
            lines: list[Line] = []
            limits = StepLimits(
                rows_per_step=size[0], rows_per_line=size[1], frames_per_step=r.randint(1, 3) if r else 16, image_rows=1
            )
            answer = self.answer(database, limits)
            async for batch in answer:
                if check:
                    check(batch)
                lines += batch
                if r and meanwhile and r.random() < 0.2:
                    await meanwhile()
                if r and r.random() < 0.2:
                    lines = lines[: r.randint(0, len(lines))]
                    break
            await answer.aclose()  # type: ignore[attr-defined]
            if self.apply(lines):
                return
        raise AssertionError("the sync does not come to an end")


def as_told(kind: str, value: Any) -> Any:
    """A value of an image as a `put` line has it."""
    if value is None:
        return None
    if kind == "boolean":
        return bool(value)
    return f"{value:.2f}" if kind == "money" else value
