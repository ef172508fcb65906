"""A staged organization and a source that a test steers between any two steps, on a real PostgreSQL."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from satchel.database.pool import Database
from satchel.errors import SourceUnreachable
from satchel.jobs.playback import playback
from satchel.journal.receive import receive
from satchel.model.changes import Page, Strategy, Watermark
from satchel.model.edits import Action
from satchel.model.writes import Abilities, Execution, Played
from satchel.staging.head import read_scope, read_scopes
from satchel.staging.image import read_image
from tests.support.field_organization import StagedOrganization, compiled, item, profile

VOID = Watermark(strategy=Strategy.FULL_COMPARE)
USER = "00000000-0000-4000-8000-0000000000aa"
UNIT = "00000000-0000-4000-8000-0000000000bb"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def gid() -> str:
    return str(uuid.uuid4())


class Memory:
    """A source in memory, because no server can be made to act between two lines of ours. `modes`: ok, lost_before,
    lost_after, one for each request."""

    def __init__(self) -> None:
        self.data: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}
        self.modes: list[str] = []
        self.tells = True
        self.has_etags = True
        self.executed: list[str] = []
        self.in_rows: Any = None
        self.after_play: Any = None
        self.refuse_412: Any = None
        self.rows_fail = 0
        self.plays = 0
        self._etag = 0

    def put(self, entity: str, **values: Any) -> dict[str, Any]:
        self._etag += 1
        key = (values["id"],)
        row = {**self.data.get((entity, key), {}), **values}
        if self.has_etags:
            row["@odata.etag"] = f'W/"{self._etag}"'
        self.data[entity, key] = row
        return row

    async def rows(self, entity: Any, keys: Sequence[Any]) -> Page:
        if self.rows_fail:
            self.rows_fail -= 1
            raise SourceUnreachable("down")
        there = [dict(self.data[entity.name, tuple(k)]) for k in keys if (entity.name, tuple(k)) in self.data]
        gone = tuple(tuple(k) for k in keys if (entity.name, tuple(k)) not in self.data)
        if self.in_rows:
            hook, self.in_rows = self.in_rows, None
            await hook()
        return Page(rows=json.dumps(there).encode(), row_count=len(there), removed=gone, watermark=VOID, is_last=True)

    async def play(self, writes: Sequence[Any], user_id: Any, request_id: str) -> Played:
        self.plays += 1
        mode = self.modes.pop(0) if self.modes else "ok"
        if mode == "lost_before":
            raise SourceUnreachable("lost")
        if self.refuse_412:
            return Played(execution=Execution.CHANGED, status=412, code="0x80060892", message="duplicate key")
        for place, w in enumerate(writes):
            row = self.data.get((w.entity.name, tuple(w.key)))
            if w.action is Action.CREATE and row is not None:
                return Played(execution=Execution.EXISTS, place=place)
            if w.action is not Action.CREATE and row is None:
                return Played(execution=Execution.MISSING, place=place)
            if w.action is not Action.CREATE and w.etag and row.get("@odata.etag") != w.etag:
                return Played(execution=Execution.CHANGED, place=place, status=412)
        told: list[bytes | None] = []
        for w in writes:
            self.executed.append(f"{w.action.value} {w.entity.name} {dict(w.values)}")
            if w.action is Action.DELETE:
                del self.data[w.entity.name, tuple(w.key)]
                told.append(None)
            else:
                blank = {a.name: None for a in w.entity.attributes} if w.action is Action.CREATE else {}
                row = self.put(w.entity.name, **{**blank, **w.values, "id": w.key[0]})
                told.append(json.dumps(row).encode() if self.tells else None)
        if self.after_play:
            hook, self.after_play = self.after_play, None
            await hook()
        if mode == "lost_after":
            raise SourceUnreachable("lost")
        return Played(execution=Execution.DONE, rows=tuple(told))

    async def was_executed(self, *_: Any) -> bool | None:
        return None

    async def abilities(self) -> Abilities:
        return Abilities(has_batch=True, has_etags=self.has_etags)


class World:
    def __init__(self, staging: Database) -> None:
        self.org = StagedOrganization(staging)
        self.source = Memory()
        self.work = msgspec.structs.replace(self.org.work, source=self.source)
        self.db = staging

    async def make(self, **settings: Any) -> None:
        text = profile(item("contact", **{"rows": ["all"], **settings}), item("task", rows=["all"]))
        await self.org.make(compiled(text), NOW)
        await self.org.change("user", [{"id": USER, "name": "u", "unit": UNIT, "disabled": False}])

    def contact(self, **more: Any) -> dict[str, Any]:
        base = {"id": gid(), "name": "Ann", "owner": USER, "unit": UNIT, "account": None, "status": 1, "due": None}
        return self.source.put("contact", **{**base, **more})

    async def stage(self, *rows: dict[str, Any]) -> None:
        await self.org.change("contact", rows)

    async def send(self, *edits: dict[str, Any], set_id: str | None = None, version: int = 1, device: str = "d") -> str:
        set_id = set_id or gid()
        body = {
            "id": set_id,
            "version": version,
            "made_at": "2026-01-01T00:00:00Z",
            "edits": [{"id": gid(), "entity": "contact", **e} for e in edits],
        }
        async with self.db.connection() as c:
            model = (await read_scope(c)).client_model
        got = await receive(
            self.db, [msgspec.Raw(json.dumps(body).encode())], model, device=device, user_id=USER, max_unsettled=1000
        )
        assert not got.receipts[0].refusal, got.receipts
        return set_id

    async def play(self, times: int = 1) -> None:
        for _ in range(times):
            await self.db.fetch("update satchel.edit_set set next_at = now()")
            await playback(self.work)

    async def state(self, set_id: str) -> tuple[str, str | None, str]:
        rows = await self.db.fetch(
            "select state, verdict, coalesce(outcome, problem, '') from satchel.edit_set where id = %(i)s::uuid",
            {"i": set_id},
        )
        return tuple(rows[0])  # type: ignore[return-value]

    async def staged(self, row: dict[str, Any]) -> Any:
        async with self.db.connection() as c:
            entity = (await read_scopes(c)).maintained.entity_by_name["contact"]
            image = await read_image(c, entity, ["name", "status"], (row["id"],))
        return image and image.is_live and image.values


def base(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if not k.startswith("@")}


def upd(row: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {"key": [row["id"]], "action": "update", "values": values, "base": base(row)}


def created() -> dict[str, Any]:
    """A new row: that it is there proves that the set was executed."""
    return {"key": [gid()], "action": "create", "values": {"name": "new", "owner": USER, "unit": UNIT}}
