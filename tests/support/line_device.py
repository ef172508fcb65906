"""A device as the protocol describes it, in a few lines: what stands before a cursor counts with that cursor."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from satchel.database.pool import Database
from satchel.staging.users import Users
from satchel.sync.cursor import CursorSeal
from satchel.sync.download import Caller, StepLimits, download

Line = dict[str, Any]


class LineDevice:
    """Holds rows by entity and key, each a mapping of columns."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.seal = CursorSeal(b"k" * 32, "org", f"device of {user}")
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
            database, Users(), Caller(self.user, "line"), state, self.model, limits=limits, seal=self.seal.seal
        )
        try:
            async for batch in batches:
                yield [json.loads(line) for line in batch.splitlines()]
        finally:
            await batches.aclose()  # type: ignore[attr-defined]

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
            answer = self.answer(database, StepLimits(rows_per_step=size[0], rows_per_line=size[1]))
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
