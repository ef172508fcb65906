"""Journal and playback where answers are lost, others change rows and pages meet edits: a source that a test steers
between any two steps, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from satchel.database.pool import Database
from satchel.errors import SourceUnreachable
from satchel.jobs.apply import apply_page
from satchel.jobs.ask_again import refresh_rows
from satchel.jobs.judge import Judge, Refusal
from satchel.jobs.playback import playback
from satchel.journal.receive import receive
from satchel.journal.sets import Attempt, lock_verdicts, mark_sending, playable, settle
from satchel.model.changes import Page, Strategy, Watermark
from satchel.model.edits import Action, Edit, Outcome, Verdict
from satchel.model.metadata import Right
from satchel.model.scope import RowOwner
from satchel.model.user import Grants, User
from satchel.model.writes import Abilities, Execution, Played
from satchel.staging.head import read_scope, read_scopes
from satchel.staging.image import read_image
from satchel.staging.written import note_unsettled, unsettled, writes_now
from tests.support.field_organization import PRINCIPALS, StagedOrganization, compiled, item, profile

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


@pytest.fixture
async def world(staging: Database) -> World:
    return World(staging)


async def test_ok(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    s = await world.send(upd(row, name="B"))
    await world.play()
    assert (await world.state(s))[:2] == ("settled", "accepted")
    assert (await world.staged(row))["name"] == "B"


async def test_executed_answer_lost_and_the_row_left_the_scope_by_it(world: World) -> None:
    await world.make(filter="status eq 1", rows=["custom"])
    row = world.contact()
    await world.stage(row)
    world.source.modes = ["lost_after"]
    s = await world.send(upd(row, status=2))
    await world.play(2)
    assert world.source.executed == ["update contact {'status': 2}"]
    assert (await world.state(s))[1] == "accepted", await world.state(s)


async def test_executed_answer_lost_row_deleted_later(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    world.source.modes = ["lost_after"]
    s = await world.send(upd(row, status=2))
    await world.play(1)
    del world.source.data["contact", (row["id"],)]
    await world.play(1)
    print(await world.state(s))
    assert (await world.state(s))[1] != "rejected", await world.state(s)


async def test_weak_evidence_of_one_edit_does_not_drop_the_others(world: World) -> None:
    await world.make()
    a, b = world.contact(), world.contact()
    await world.stage(a, b)
    world.source.modes = ["lost_before"]
    s = await world.send(upd(a, name="mine"), {"key": [b["id"]], "action": "delete", "base": base(b)})
    await world.play(1)
    assert world.source.executed == []
    del world.source.data["contact", (b["id"],)]  # somebody else deletes b
    await world.play(2)
    assert (await world.state(s))[1] != "accepted" or world.source.data["contact", (a["id"],)]["name"] == "mine", (
        await world.state(s)
    )


async def test_same_value_by_others(world: World) -> None:
    await world.make()
    a, b = world.contact(), world.contact()
    await world.stage(a, b)
    world.source.modes = ["lost_before"]
    s = await world.send(upd(a, name="mine"), upd(b, status=2))
    await world.play(1)
    world.source.put("contact", id=b["id"], status=2)  # somebody else sets the same status of b
    await world.play(2)
    assert (await world.state(s))[1] != "accepted" or world.source.data["contact", (a["id"],)]["name"] == "mine", (
        await world.state(s)
    )


async def test_a_412_that_is_no_version_comes_home(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    world.source.refuse_412 = True
    s = await world.send(upd(row, name="taken"))
    await world.play(3)
    assert (await world.state(s))[0] == "held", (await world.state(s), world.source.plays)


async def test_update_of_a_row_whose_create_was_not_told(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    world.source.tells = False
    world.source.rows_fail = 1
    key = gid()
    first = await world.send({"key": [key], "action": "create", "values": {"name": "new", "status": 1}})
    second = await world.send({"key": [key], "action": "update", "values": {"name": "newer"}, "after": first})
    await world.play(2)
    assert (await world.state(first))[1] == "accepted", await world.state(first)
    assert (await world.state(second))[1] == "accepted", await world.state(second)


@pytest.mark.parametrize("policy", ["merge", "server"])
async def test_own_edit_counts_as_others_where_it_was_not_told(world: World, policy: str) -> None:
    await world.make(conflicts=policy)
    row = world.contact()
    await world.stage(row)
    world.source.tells = False
    world.source.rows_fail = 1
    first = await world.send(upd(row, name="B"))
    second = await world.send({**upd(row, name="C"), "after": first})
    await world.play(2)
    assert (await world.state(first))[1] == "accepted", await world.state(first)
    assert (await world.state(second))[1] == "accepted", await world.state(second)


async def _page(world: World, *rows: dict[str, Any]) -> Page:
    return Page(rows=json.dumps(list(rows)).encode(), row_count=len(rows), removed=(), watermark=VOID, is_last=True)


async def _apply(world: World, page: Page, writes: int) -> None:
    async with world.db.transaction() as c:
        entity = (await read_scopes(c)).maintained.entity_by_name["contact"]
        await apply_page(c, entity, page, writes=writes)


async def test_older_page_after_a_lost_answer(world: World) -> None:
    """A page was asked for before a write whose answer was lost, and is applied after the verdict."""
    await world.make()
    row = world.contact()
    await world.stage(row)
    async with world.db.connection() as c:
        writes = await writes_now(c)
    page = await _page(world, dict(row))
    world.source.modes = ["lost_after"]
    s = await world.send(upd(row, name="B"))
    await world.play(2)
    assert (await world.state(s))[1] == "accepted"
    await _apply(world, page, writes)
    async with world.db.connection() as c:
        noted = await unsettled(c)
    assert noted or (await world.staged(row))["name"] == "B", "the accepted edit is overwritten by an older page"


async def test_a_page_between_a_write_through_and_its_note(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page looks for newer writes, a set is settled, the page is staged: one after the other, never interleaved."""
    from satchel.jobs import apply

    await world.make()
    row = world.contact()
    await world.stage(row)
    async with world.db.connection() as c:
        writes = await writes_now(c)
    page = await _page(world, dict(row))
    s = await world.send(upd(row, name="B"))
    playing: list[asyncio.Task[None]] = []
    begin_changes = apply.begin_changes

    async def while_a_set_is_settled(connection: Any) -> None:
        monkeypatch.setattr(apply, "begin_changes", begin_changes)
        playing.append(asyncio.create_task(world.play()))
        await asyncio.wait(playing, timeout=1.0)
        await begin_changes(connection)

    monkeypatch.setattr(apply, "begin_changes", while_a_set_is_settled)
    await _apply(world, page, writes)
    await asyncio.gather(*playing)
    assert (await world.state(s))[1] == "accepted"
    assert (await world.staged(row))["name"] == "B"


async def test_what_was_written_is_known_where_a_page_came_between(world: World) -> None:
    """A page changed the row after the set was judged: the next edit of it still builds on what the set made."""
    await world.make(conflicts="merge")
    row = world.contact()
    await world.stage(row)
    first = await world.send(upd(row, name="B"))
    second = await world.send({**upd(row, name="C"), "after": first})

    async def others_page() -> None:
        older = {
            **world.source.data["contact", (row["id"],)],
            "name": "Ann",
            "due": "2026-05-05",
            "@odata.etag": 'W/"x"',
        }
        async with world.db.transaction() as c:
            entity = (await read_scopes(c)).maintained.entity_by_name["contact"]
            await apply_page(c, entity, await _page(world, older), writes=await writes_now(c))

    world.source.after_play = others_page
    await world.play(2)
    assert (await world.state(first))[1] == "accepted"
    assert (await world.state(second))[1] in ("accepted", "merged"), await world.state(second)
    assert world.source.data["contact", (row["id"],)]["name"] == "C"


async def test_a_note_put_while_the_row_was_asked_for_is_kept(world: World) -> None:
    from satchel.staging.head import read_scopes

    await world.make()
    row = world.contact()
    await world.stage(row)
    async with world.db.connection() as c:
        writes = await writes_now(c)  # a long pull begins
        entity = (await read_scopes(c)).maintained.entity_by_name["contact"]
    s = await world.send(upd(row, name="B"))
    await world.play()
    assert (await world.state(s))[1] == "accepted"

    async def meanwhile() -> None:  # others change the row; the pull's next page has it, and is left out for `written`
        newest = world.source.put("contact", id=row["id"], name="theirs")
        await _apply(world, await _page(world, dict(newest)), writes)

    world.source.in_rows = meanwhile
    await refresh_rows(world.work, entity, [(row["id"],)])
    async with world.db.connection() as c:
        noted = await unsettled(c)
    assert noted or (await world.staged(row))["name"] == "theirs", (
        "the pull's watermark is past it, and nobody asks again"
    )


async def test_without_etags_a_newer_page_is_not_overwritten(world: World) -> None:
    await world.make()
    world.source.has_etags = False
    row = world.contact()
    await world.stage(row)

    async def meanwhile() -> None:  # after the write, before its write-through: others' change is pulled
        newest = world.source.put("contact", id=row["id"], name="theirs")
        async with world.db.connection() as c:
            writes = await writes_now(c)
        world.told = await _page(world, dict(newest))
        await _apply(world, world.told, writes)

    world.source.after_play = meanwhile
    await world.send(upd(row, name="B"))
    await world.play()
    async with world.db.connection() as c:
        noted = await unsettled(c)
    assert noted or (await world.staged(row))["name"] == "theirs"


@pytest.mark.parametrize("policy", ["merge", "server"])
async def test_what_is_known_survives_a_withdrawn_set_between(world: World, policy: str) -> None:
    await world.make(conflicts=policy)
    row = world.contact()
    await world.stage(row)
    first = await world.send(upd(row, name="B"))
    second = await world.send({**upd(row, status="no number"), "after": first})
    third = await world.send({**upd(row, name="C"), "after": second})
    await world.play()
    assert [(await world.state(s))[1] for s in (first, second, third)] == ["accepted", "rejected", None]
    await world.send(set_id=second, version=2)  # the user lets go of it
    await world.play()
    assert (await world.state(third))[1] == "accepted", await world.state(third)


async def test_base_is_bounded_and_typed(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    world.source.put("contact", id=row["id"], name="Z")
    s = await world.send({**upd(row, name="x"), "base": {**base(row), "name": ["sNaN"], "status": {"a": 1}}})
    await world.play(2)
    assert (await world.state(s))[0] in {"held", "settled"}, await world.state(s)


async def test_a_player_that_lost_its_lock_is_fenced(world: World) -> None:
    """The guard's connection is killed while a write is under way; another player takes over and sends it again."""
    await world.make()
    world.source.has_etags = False
    row = world.contact()
    await world.stage(row)
    await world.send(upd(row, name="B"))
    inside, go = asyncio.Event(), asyncio.Event()
    real, order = world.source.play, []

    async def slow(writes: Any, user: Any, name: str) -> Played:
        order.append("asked")
        if len(order) == 1:
            inside.set()
            await go.wait()
        return await real(writes, user, name)

    world.source.play = slow  # type: ignore[method-assign]
    one = asyncio.create_task(playback(world.work))
    await inside.wait()
    await world.db.fetch(
        "select pg_terminate_backend(l.pid) from pg_locks l join pg_database d on d.oid = l.database"
        " where l.locktype = 'advisory' and d.datname = current_database()"
    )
    await asyncio.sleep(0.5)
    await playback(world.work)
    go.set()
    await asyncio.gather(one, return_exceptions=True)
    assert len(world.source.executed) == 1, world.source.executed


async def test_late_execution_and_a_plugin_that_changes_the_value(world: World) -> None:
    """The first request times out here, but is executed at the source while the second is on its way."""
    await world.make()
    key = gid()
    world.source.modes = ["lost_before"]
    s = await world.send({"key": [key], "action": "create", "values": {"name": "mine ", "status": 1}})
    await world.play(1)
    real = world.source.play

    async def late(*a: Any) -> Played:
        world.source.play = real  # type: ignore[method-assign]
        world.contact(id=key, name="mine")  # executed now; the source trims
        return await real(*a)

    world.source.play = late  # type: ignore[method-assign]
    await world.play(2)
    assert (await world.state(s))[1] == "accepted", await world.state(s)


@pytest.mark.parametrize(
    "edit",
    [
        {"id": gid() + "\n"},
        {"key": ["\u4e00" * 1000] * 8},
        {"after": gid() + "\n"},
        {"values": {"name": "\0"}},
        {"key": []},
        {"action": "explode"},
        {"more": 1},
    ],
)
async def test_a_set_that_cannot_be_read_is_refused_and_holds_no_other(world: World, edit: dict[str, Any]) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    with pytest.raises(AssertionError, match="Receipt"):
        await world.send({**upd(row, name="x"), **edit})
    good = await world.send(upd(row, name="y"))
    await world.play()
    assert (await world.state(good))[1] == "accepted"


async def test_a_row_is_not_made_for_another_owner_than_the_roles_allow(world: World) -> None:
    """Where the source does not impersonate, nobody else would refuse it."""
    text = profile(item("contact", rows=["all"]))
    scope = msgspec.structs.replace(compiled(text), owners={"contact": RowOwner("owner", "unit")})
    judge = Judge.__new__(Judge)
    own = User(id=USER, rights={"contact": {Right.CREATE: Grants(owners=(USER,))}})
    for owner, is_refused in ((USER, False), (gid(), True)):
        edit = Edit(id=gid(), entity="contact", key=(gid(),), action=Action.CREATE, values={"owner": owner})
        with pytest.raises(Refusal) if is_refused else contextlib.nullcontext():
            judge._require_owner(edit, scope, own)


async def test_receiving_and_settling_lock_in_one_order(world: World) -> None:
    """A request names a set that is being settled and withdraws another one."""
    await world.make()
    a, b = world.contact(), world.contact()
    await world.stage(a, b)
    one, two = await world.send(upd(a, name="1")), await world.send(upd(b, name="2"))
    rows = await world.db.fetch("select id::text, number, edits from satchel.edit_set")
    numbers = {row[0]: row[1] for row in rows}
    edits = {row[0]: json.loads(row[2]) for row in rows}

    async def settling() -> None:
        async with world.db.transaction() as connection:
            await lock_verdicts(connection)
            await asyncio.sleep(0.3)
            await settle(connection, numbers[one], Outcome(set=one, version=1, verdict=Verdict.ACCEPTED))

    async def receiving() -> None:
        await asyncio.sleep(0.1)
        async with world.db.connection() as connection:
            model = (await read_scope(connection)).client_model
        bodies = [
            {"id": one, "version": 1, "made_at": "x", "edits": edits[one]},
            {"id": two, "version": 2, "made_at": "x", "edits": []},
        ]
        raws = [msgspec.Raw(json.dumps(body).encode()) for body in bodies]
        await receive(world.db, raws, model, device="d", user_id=USER, max_unsettled=100)

    await asyncio.gather(settling(), receiving())


async def test_long_reference_to_an_offered_entity(world: World) -> None:
    text = profile(item("contact", rows=["all"]), item("account", rows=["all"]))
    await world.org.make(compiled(text), NOW)
    await world.org.change("user", [{"id": USER, "name": "u", "unit": UNIT, "disabled": False}])
    row = world.contact()
    await world.stage(row)
    long = "".join(random.Random(1).choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(20000))
    refused = await world.send(upd(row, account=long))
    await world.play()
    assert (await world.state(refused))[1] == "rejected"


@pytest.mark.parametrize("part", ["\uff11", "1_0", " 1", "+1", "01"])
async def test_integer_keys(world: World, part: str) -> None:
    text = profile(item("product", rows=["all"]))
    await world.org.make(compiled(text), NOW)
    await world.org.change("user", [{"id": USER, "name": "u", "unit": UNIT, "disabled": False}])
    await world.org.change("product", [{"code": "a", "size": 1, "name": "x"}])
    s = await world.send(
        {"entity": "product", "key": ["a", part], "action": "update", "values": {"name": "y"}, "base": {}}
    )
    await world.play(2)
    state = await world.state(s)
    assert state[0] == "held", state
    assert "invalid" in state[2], state


async def test_others_change_between_two_own_edits_is_not_own(world: World) -> None:
    """`after` may name a set of another device."""
    await world.make()
    row = world.contact()
    await world.stage(row)
    foreign = await world.send(upd(row, name="other user's"), device="other")
    await world.play()
    s = await world.send({**upd(row, name="mine"), "after": foreign})
    await world.play()
    assert (await world.state(s))[1] == "conflict", await world.state(s)


async def test_without_etags_others_change_is_not_overwritten_in_silence(world: World) -> None:
    """Not pulled yet, merge policy, both changed the name."""
    await world.make()
    world.source.has_etags = False
    row = world.contact()
    await world.stage(row)
    world.source.put("contact", id=row["id"], name="theirs")
    s = await world.send(upd(row, name="mine"))
    await world.play()
    assert (await world.state(s))[1] == "conflict", await world.state(s)


async def test_one_entity_that_may_not_be_read_does_not_stop_the_others_notes(world: World) -> None:
    from satchel.errors import RequestRefused
    from satchel.jobs.ask_again import ask_again

    await world.make()
    row = world.contact()
    await world.stage(row)
    newest = world.source.put("contact", id=row["id"], name="newest")
    async with world.db.transaction() as c:
        await note_unsettled(c, "task", [(gid(),)])
        await note_unsettled(c, "contact", [(row["id"],)])
    real = world.source.rows

    async def rows(entity: Any, keys: Any) -> Page:
        if entity.name == "task":
            raise RequestRefused("forbidden")
        return await real(entity, keys)

    world.source.rows = rows  # type: ignore[method-assign]
    await ask_again(world.work)
    assert (await world.staged(row))["name"] == newest["name"]


async def test_a_withdrawal_gets_through_at_the_limit(world: World) -> None:
    """max_unsettled is reached with held sets; the user lets go of one and has made a new one: both are refused."""
    await world.make()
    row = world.contact()
    await world.stage(row)
    first = await world.send(upd(row, status="no number"))
    await world.play()
    async with world.db.connection() as c:
        model = (await read_scope(c)).client_model
    again = {"id": first, "version": 2, "made_at": "x", "edits": []}
    new = {
        "id": gid(),
        "version": 1,
        "made_at": "x",
        "edits": [{"id": gid(), "entity": "contact", **upd(row, name="B")}],
    }
    raws = [msgspec.Raw(json.dumps(each).encode()) for each in (again, new)]
    await receive(world.db, raws, model, device="d", user_id=USER, max_unsettled=1)


async def test_a_page_asked_for_before_an_edit_does_not_undo_it(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    async with world.db.connection() as c:
        writes = await writes_now(c)
    page = await _page(world, dict(row))
    await world.send(upd(row, name="B"))
    await world.play()
    await _apply(world, page, writes)
    assert (await world.staged(row))["name"] == "B"
    async with world.db.connection() as c:
        assert await unsettled(c), "the page may have known something newer: the row is asked for again"


async def test_an_edit_of_a_row_that_is_none_of_the_users_never_reaches_the_source(world: World) -> None:
    await world.make(rows=["own"], owner="owner")
    foreign = world.contact(owner=gid())
    await world.stage(foreign)
    s = await world.send(upd(foreign, name="mine"))
    await world.play()
    state = await world.state(s)
    assert state[1] == "rejected"
    assert '"reason":"scope"' in state[2]
    assert not world.source.plays


async def test_what_others_set_back_between_two_own_edits_is_not_overwritten(world: World) -> None:
    """Ann, then Bea (mine), then Ann again (theirs): an edit made on Bea meets a change that looks like none."""
    await world.make()
    row = world.contact(name="Ann")
    await world.stage(row)
    first = await world.send(upd(row, name="Bea"))
    await world.play()
    back = world.source.put("contact", id=row["id"], name="Ann")
    await world.stage(dict(back))
    second = await world.send({**upd(row, name="Cleo"), "after": first})
    await world.play()
    assert (await world.state(second))[1] == "conflict"
    assert world.source.data["contact", (row["id"],)]["name"] == "Ann"


async def test_another_device_cannot_take_up_a_set(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    s = await world.send(upd(row, name="mine"))
    with pytest.raises(AssertionError, match="another device"):
        await world.send(upd(row, name="not mine"), set_id=s, version=2, device="other")
    await world.play()
    assert world.source.data["contact", (row["id"],)]["name"] == "mine"


async def test_what_is_withdrawn_while_it_is_judged_is_not_sent(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    s = await world.send(upd(row, name="mine"))
    async with world.db.connection() as c:
        (journaled,) = await playable(c, under_way=(), limit=10)
    await world.send(set_id=s, version=2)
    async with world.db.connection() as c:
        assert not await mark_sending(c, journaled, Attempt(since=NOW, etags={}))
    await world.play()
    assert not world.source.plays


async def test_a_set_that_was_taken_up_again_is_not_sent_in_its_old_version(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    s = await world.send(upd(row, name="first thought"))
    async with world.db.connection() as c:
        (journaled,) = await playable(c, under_way=(), limit=10)
    await world.send(upd(row, name="second thought"), set_id=s, version=2)
    async with world.db.connection() as c:
        assert not await mark_sending(c, journaled, Attempt(since=NOW, etags={}))
    await world.play()
    assert world.source.data["contact", (row["id"],)]["name"] == "second thought"
    assert world.source.plays == 1


async def test_what_roles_do_not_allow_on_this_row_never_reaches_the_source(world: World) -> None:
    """Reading everything, writing one's own rows only."""
    text = profile(item("contact", rows=["all"], owner="owner", unit="unit"), principals=PRINCIPALS)
    scope = msgspec.structs.replace(compiled(text), rights={"contact": {Right.WRITE: "contact.write"}})
    await world.org.make(scope, NOW)
    role = gid()
    await world.org.change("user", [{"id": USER, "name": "u", "unit": UNIT, "disabled": False}])
    await world.org.change("role", [{"id": role, "name": "r", "inherits": 0}])
    await world.org.change("userrole", [{"id": gid(), "user": USER, "role": role}])
    depths = {"contact": 8, "contact.write": 1}
    await world.org.change(
        "privilege", [{"id": gid(), "role": role, "entity": name, "depth": depth} for name, depth in depths.items()]
    )
    own, foreign = world.contact(), world.contact(owner=gid())
    await world.stage(own, foreign)
    refused, taken = await world.send(upd(foreign, name="mine")), await world.send(upd(own, name="mine"))
    await world.play()
    state = await world.state(refused)
    assert (state[1], (await world.state(taken))[1]) == ("rejected", "accepted"), state
    assert '"reason":"privilege"' in state[2]
    assert world.source.plays == 1


@pytest.mark.parametrize("policy", ["merge", "server", "ask"])
async def test_what_is_known_survives_a_set_withdrawn_before_the_first_was_played(world: World, policy: str) -> None:
    await world.make(conflicts=policy)
    row = world.contact()
    await world.stage(row)
    first = await world.send(upd(row, name="B"))
    second = await world.send({**upd(row, status=2), "after": first})
    third = await world.send({**upd(row, name="C"), "after": second})
    fourth = await world.send({**upd(row, name="D"), "after": third})
    await world.send(set_id=second, version=2)  # the user lets go of them, before anything was played
    await world.send(set_id=third, version=2)
    await world.play()
    assert (await world.state(first))[1] == "accepted"
    assert (await world.state(fourth))[1] == "accepted", await world.state(fourth)


async def test_a_device_that_names_sets_in_a_circle_gets_a_verdict(world: World) -> None:
    await world.make(conflicts="ask")
    row = world.contact()
    await world.stage(row)
    one, two = gid(), gid()
    await world.send({**upd(row, status=2), "after": two}, set_id=one)
    await world.send({**upd(row, status=3), "after": one}, set_id=two)
    await world.send(set_id=one, version=2)
    await world.send(set_id=two, version=2)
    third = await world.send({**upd(row, name="C"), "after": two})
    await world.play()
    assert (await world.state(third))[1] == "accepted"  # nobody else changed the row: its base says so


async def test_a_stamp_of_the_source_after_a_merged_set_is_no_others_change(world: World) -> None:
    await world.make()
    row = world.contact(stamp=1)
    await world.stage(row)
    real = world.source.put
    count = itertools.count(2)
    world.source.put = lambda entity, **v: real(entity, **{**v, "stamp": next(count)})  # type: ignore[method-assign]
    newer = world.source.put("contact", id=row["id"], status=3)
    await world.stage(dict(newer))
    first = await world.send(upd(row, name="B"))  # made before the device was told of `newer`
    second = await world.send({"key": [row["id"]], "action": "delete", "base": base(newer), "after": first})  # after it
    await world.play()
    assert (await world.state(first))[1] == "merged"
    assert (await world.state(second))[1] == "accepted", await world.state(second)


@pytest.mark.parametrize("policy", ["server", "ask"])
async def test_a_stamp_of_the_source_after_a_lost_answer_is_no_others_change(world: World, policy: str) -> None:
    await world.make(conflicts=policy)
    row = world.contact(stamp=1)
    await world.stage(row)
    real = world.source.put
    world.source.put = lambda entity, **v: real(entity, **{**v, "stamp": 2})  # type: ignore[method-assign]
    world.source.modes = ["lost_after"]
    first = await world.send(upd(row, name="B"))
    second = await world.send({**upd(row, name="C"), "after": first})
    await world.play(2)
    assert (await world.state(first))[1] == "accepted"
    assert (await world.state(second))[1] == "accepted", await world.state(second)


async def test_others_change_of_a_row_whose_create_was_lost_is_not_overwritten(world: World) -> None:
    await world.make()
    key = gid()
    world.source.modes = ["lost_after"]
    made = {"key": [key], "action": "create", "values": {"name": "mine", "owner": USER, "unit": UNIT}}
    first = await world.send(made)
    second = await world.send({"key": [key], "action": "update", "values": {"name": "newer"}, "after": first})
    await world.play(1)
    world.source.put("contact", id=key, name="theirs")
    await world.play(2)
    assert (await world.state(first))[1] == "accepted", await world.state(first)
    assert (await world.state(second))[1] == "conflict", await world.state(second)
    assert world.source.data["contact", (key,)]["name"] == "theirs"


async def test_others_change_after_an_update_whose_answer_was_lost_is_not_overwritten(world: World) -> None:
    await world.make()
    row = world.contact()
    await world.stage(row)
    world.source.modes = ["lost_after"]
    first = await world.send(upd(row, name="mine"), created())
    second = await world.send({**upd(row, name="newer"), "after": first})
    await world.play(1)
    world.source.put("contact", id=row["id"], name="theirs")
    await world.play(2)
    assert (await world.state(first))[1] == "accepted", await world.state(first)
    assert (await world.state(second))[1] == "conflict", await world.state(second)
    assert world.source.data["contact", (row["id"],)]["name"] == "theirs"


def created() -> dict[str, Any]:
    """A new row: that it is there proves that the set was executed."""
    return {"key": [gid()], "action": "create", "values": {"name": "new", "owner": USER, "unit": UNIT}}
