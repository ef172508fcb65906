"""What becomes of edits, after random histories: two devices edit, undo, sync and lose answers while others change rows
at the source, pages come late and the source fails. A simple reference says of each verdict whether it may be so."""

from __future__ import annotations

import json
import os
import random
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from satchel.database.pool import Database
from satchel.device.edits.editing import Changes
from satchel.device.edits.outbox import PendingSet, SetState
from satchel.device.edits.verdicts import Choice
from satchel.errors import EditInvalid, SourceBusy
from satchel.jobs.apply import apply_page
from satchel.jobs.ask_again import ask_again
from satchel.jobs.playback import playback
from satchel.model.changes import Page
from satchel.model.edits import Edit
from satchel.model.writes import Execution, Played
from satchel.staging.head import read_scopes
from satchel.staging.watermark import advance, read_watermark
from satchel.staging.written import unsettled, writes_now
from tests.support.edits.phone import Phone
from tests.support.edits.reference import ATTRIBUTES, STAMP, Course, Ledger, Opinion, Reader, Row, Rules, Wish, shown
from tests.support.edits.world import NOW, UNIT, USER, VOID, Memory
from tests.support.field_organization import StagedOrganization, compiled, item, profile

HISTORIES = int(os.environ.get("SATCHEL_TEST_HISTORIES", "40"))
FIRST_SEED = int(os.environ.get("SATCHEL_TEST_FIRST_SEED", "0"))
POLICIES = ("merge", "server", "device", "ask")
OTHER_USER = "00000000-0000-4000-8000-0000000000ab"
NOBODY = "00000000-0000-4000-8000-0000000000ff"
UNCERTAIN = "satchel/uncertain"
LOSSES = ("lost_before", "lost_after")


class Source(Memory):
    """A source that remembers who wrote what, and fails as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.data = self.ledger
        self.moods: dict[str, list[str]] = {}
        """How the next requests for a set end; ok where nothing is said."""
        self.lost: set[str] = set()
        """Sets of which an answer was lost since the last verdict."""
        self.ever_lost: set[str] = set()
        self._hook: Any = None
        self.refused: set[str] = set()

    async def play(self, writes: Any, user_id: Any, request_id: str) -> Played:
        mood = self.moods[request_id].pop(0) if self.moods.get(request_id) else "ok"
        if mood == "busy":
            raise SourceBusy("later")
        if mood in {"refused", "refused_412"}:
            self.refused.add(request_id)
            execution = Execution.REFUSED if mood == "refused" else Execution.CHANGED
            return Played(execution=execution, status=412, code="0x1", message="a plug-in says no")
        if mood in LOSSES:
            self.lost.add(request_id)
            self.ever_lost.add(request_id)
        self.modes = [mood]
        self.ledger.author = request_id
        self.ledger.writing = {w.key[0]: frozenset(w.values if w.action == "update" else ATTRIBUTES) for w in writes}
        hook = self.after_play
        self.after_play = self._others_go_on if hook else None
        self._hook = hook
        try:
            return await super().play(writes, user_id, request_id)
        finally:
            self.ledger.author = None
            self.modes = []
            if self.after_play:  # it was not executed
                self.after_play = hook

    async def _others_go_on(self) -> None:
        self.ledger.author = None
        await self._hook()


@dataclass
class MadeSet:
    """One version of an edit set."""

    label: str
    phone: Phone
    number: int
    wishes: list[Wish]
    is_anew: bool = False
    """It was settled before, and is sent under another name."""


@dataclass
class Fate:
    """What became of all versions of a set."""

    verdicts: list[tuple[int, str]] = field(default_factory=list)
    is_undone: bool = False
    is_uncertain: bool = False


class History:
    """A random history, and what is known of it."""

    def __init__(self, seed: int, database: Database, folder: Path) -> None:
        self.r = r = random.Random(seed)
        self.database = database
        self.staged = StagedOrganization(database)
        self.source = Source()
        self.source.has_etags = r.random() < 0.85
        self.source.tells = r.random() < 0.8
        self.work = msgspec.structs.replace(self.staged.work, source=self.source)
        self.ledger = self.source.ledger
        is_own_only = r.random() < 0.4
        self.rules = Rules(POLICIES[seed % len(POLICIES)], is_own_only, shows_stamp=r.random() < 0.5)
        self.columns = ["id", *ATTRIBUTES, *([STAMP] if self.rules.shows_stamp else [])]
        second = OTHER_USER if r.random() < 0.5 else USER
        self.phones = [Phone("A", USER, folder, database), Phone("B", second, folder, database)]
        self.seen: dict[str, dict[str, int]] = {"A": {}, "B": {}}
        self.sets: dict[tuple[str, int], MadeSet] = {}
        self.fates: dict[str, Fate] = {}
        self.last_verdict: dict[str, int] = {}
        self.lost_at: dict[str, dict[str, int]] = {}
        self.page: tuple[Page, int, int] | None = None
        self.position = 0
        self.staged_last: dict[str, int] = {}
        self.steps: list[str] = [
            f"{self.rules}, etags {self.source.has_etags}, tells {self.source.tells}, "
            f"{'two users' if second != USER else 'one user'}"
        ]
        self.labels: dict[str, str] = {}

    # Beginning and end

    async def begin(self) -> None:
        rows = "own" if self.rules.is_own_only else "all"
        # Where devices do not get the stamp, this always true filter has it staged.
        hidden = {} if self.rules.shows_stamp else {"filter": f"{STAMP} ne null"}
        text = profile(item("contact", rows=[rows], columns=self.columns, conflicts=self.rules.policy, **hidden))
        await self.staged.make(compiled(text), NOW)
        users = [{"id": each, "name": "u", "unit": UNIT, "disabled": False} for each in (USER, OTHER_USER)]
        await self.staged.change("user", users)
        for _ in range(self.r.randint(3, 5)):
            self.others_create()
        await self.pull()
        for phone in self.phones:
            await self.download(phone)

    async def end(self) -> None:
        """No more faults: all is sent, played and pulled; what came home is let go of."""
        self.say("the end begins")
        self.source.moods.clear()
        for _ in range(30):
            for phone in self.phones:
                await phone.upload()
            await self.play_all()
            await self.pull()
            for phone in self.phones:
                await self.download(phone)
                for each in phone.pending():
                    if not each.state.is_in_effect:
                        self.discard(phone, each.number, with_dependents=True)
            if all(phone.is_empty() for phone in self.phones):
                break
        else:
            raise AssertionError("it never becomes quiet")
        await self.pull()
        for phone in self.phones:
            await self.download(phone)

    # What is said and shown

    def say(self, text: str) -> None:
        self.steps.append(text)

    def row_name(self, key: str) -> str:
        return self.labels.setdefault(key, f"r{len(self.labels)}")

    def new_key(self) -> str:
        return str(uuid.UUID(int=self.r.getrandbits(128), version=4))

    # Others, at the source

    def values(self) -> Row:
        """One or two attributes with values that often meet each other."""
        r = self.r
        found: Row = {}
        for name in r.sample(["name", "status", "due"], r.choice([1, 1, 2])):
            if name == "name":
                found[name] = r.choice(["Ann", "Bea", "Cleo", f"n{r.randint(1, 99)}"])
            elif name == "status":
                found[name] = r.choice([1, 2, 3, None])
            else:
                found[name] = r.choice([None, "2026-01-01", "2026-02-02"])
        return found

    def others_create(self) -> None:
        key = self.new_key()
        owner = self.r.choice([USER, USER, OTHER_USER])
        row = {"account": None, "name": "Ann", "status": 1, "due": None, "owner": owner, "unit": UNIT}
        self.source.put("contact", id=key, **row)
        self.say(f"others make {self.row_name(key)} of {owner[-2:]}")

    def others_change(self, key: str | None = None) -> None:
        alive = sorted(name[1][0] for name in self.ledger)
        if not alive:
            return self.others_create()
        lost = sorted(key for key in self.rows_in_doubt() if key in alive)
        key = key or self.r.choice(lost if lost and self.r.random() < 0.7 else alive)
        chance = self.r.random()
        if ("contact", (key,)) not in self.ledger:
            return None
        if chance < 0.1:
            del self.ledger["contact", (key,)]
            self.say(f"others delete {self.row_name(key)}")
            return None
        values = self.values()
        if chance < 0.25:
            values = {"owner": self.r.choice([USER, OTHER_USER, NOBODY])}
        self.source.put("contact", id=key, **values)
        self.say(f"others set {values} of {self.row_name(key)}")
        return None

    def rows_in_doubt(self) -> set[str]:
        """Rows of sets of which an answer was lost."""
        return {wish.key for (i, _), made in self.sets.items() if i in self.source.lost for wish in made.wishes}

    # Pages

    async def ask_for_page(self) -> None:
        """Ask for what changed since the last page; it is applied now or later."""
        async with self.database.connection() as connection:
            writes = await writes_now(connection)
        keys = sorted(set(self.ledger.moves[self.position :]))
        rows = [dict(self.ledger["contact", (key,)]) for key in keys if ("contact", (key,)) in self.ledger]
        gone = tuple((key,) for key in keys if ("contact", (key,)) not in self.ledger)
        page = Page(rows=json.dumps(rows).encode(), row_count=len(rows), removed=gone, watermark=VOID, is_last=True)
        self.page = page, writes, len(self.ledger.moves)
        self.say(f"a page is asked for: {[self.row_name(key) for key in keys]}")

    async def apply_page(self) -> None:
        assert self.page is not None
        page, writes, position = self.page
        async with self.database.transaction() as connection:
            entity = (await read_scopes(connection)).maintained.entity_by_name["contact"]
            await apply_page(connection, entity, page, writes=writes)
            version = (await read_watermark(connection, "contact")).version
            await advance(connection, "contact", page.watermark, version=version, is_last=True)
        self.page, self.position = None, position
        self.say("the page is applied")
        await self.staged_places()

    async def pull(self) -> None:
        if self.page is None:
            await self.ask_for_page()
        await self.apply_page()
        await ask_again(self.work)

    # Devices

    def edit(self, phone: Phone) -> None:
        r = self.r
        table = phone.table(self.columns)
        wanted: list[tuple[str, str, Row]] = []
        pending = [edit.key[0] for each in phone.pending() for edit in each.edits]
        for _ in range(r.choice([1, 1, 1, 2, 3])):
            action = r.choice(["update"] * 6 + ["create", "delete"])
            if action == "create":
                wanted.append((action, self.new_key(), {"owner": phone.user, "name": "new", **self.values()}))
                continue
            near = [key for key in pending if key in table]
            key = r.choice(near if near and r.random() < 0.4 else sorted(table)) if table else ""
            if key and key not in [each[1] for each in wanted]:
                wanted.append((action, key, self.values() if action == "update" else {}))

        def change(changes: Changes) -> None:
            for action, key, values in wanted:
                if action == "create":
                    changes.create("contact", {"id": key, **values})
                elif action == "update":
                    changes.update("contact", key, values)
                else:
                    changes.delete("contact", key)

        before = [each for each in phone.pending() if each.state.is_in_effect]
        made = phone.edit(change)
        if made is not None:
            self.register(phone, made, [self.wish(phone, edit, before) for edit in made.edits])

    def wish(self, phone: Phone, edit: Edit, before: list[PendingSet]) -> Wish:
        key = edit.key[0]
        covered_by = frozenset(each.id for each in before if key in [e.key[0] for e in each.edits])
        told = phone.told.get(key)
        assert edit.base == (None if edit.action == "create" else told), (edit.base, told)
        seen = self.seen[phone.name][key] if told is not None and edit.action != "create" else None
        chain = covered_by.union(*(wish.chain for each in before for wish in self.wishes_of(each) if wish.key == key))
        return Wish(key, edit.action.value, edit.values, seen, covered_by, chain)

    def wishes_of(self, pending: PendingSet) -> list[Wish]:
        return self.sets[pending.id, pending.version].wishes

    def register(self, phone: Phone, made: PendingSet, wishes: list[Wish], *, is_anew: bool = False) -> None:
        label = f"{phone.name}{made.number}.{made.version}{' anew' if is_anew else ''}"
        self.sets[made.id, made.version] = MadeSet(label, phone, made.number, wishes, is_anew)
        self.fates.setdefault(made.id, Fate())
        told = [f"{w.action} {self.row_name(w.key)} {dict(w.values)} on {w.seen}" for w in wishes]
        self.say(f"{label} = {'; '.join(told)}")

    def discard(self, phone: Phone, number: int, *, with_dependents: bool) -> None:
        before = {each.number: each for each in phone.pending()}
        if number not in before:
            return
        try:
            gone = phone.discard(number, with_dependents=with_dependents)
        except EditInvalid:
            return
        for each in gone:
            self.fates[before[each].id].is_undone = True
        self.follow(phone)
        self.say(f"{phone.name} lets go of {gone} ({before[number].state})")

    def follow(self, phone: Phone) -> None:
        """What stood on a set that goes no further may go to the server once more, as its next version."""
        for each in phone.pending():
            if (each.id, each.version) not in self.sets:
                newest = max(version for set_id, version in self.sets if set_id == each.id)
                self.sets[each.id, each.version] = self.sets[each.id, newest]

    def decide(self, phone: Phone) -> None:
        """The user takes up what came home."""
        r = self.r
        home = [each for each in phone.pending() if not each.state.is_in_effect]
        if not home:
            return
        pending = r.choice(home)
        way = r.choice(["discard", "retry", "resolve"])
        if way == "discard":
            self.discard(phone, pending.number, with_dependents=r.random() < 0.5)
            return
        choices = None
        if way == "resolve":
            outcomes = pending.outcome.edits if pending.outcome else ()
            overlap = {name for each in outcomes for name in each.overlap}
            names = {name for edit in pending.edits for name in edit.values} & overlap
            choices = {name: Choice(side=r.choice(["mine", "theirs"])) for name in sorted(names)}
        self.say(f"{phone.name} {way} {pending.number} ({pending.state}) {choices or ''}")
        taken = phone.take_up(pending.number, choices)
        if taken is None:
            self.fates[pending.id].is_undone = True
            return
        self.register(phone, taken, self.wishes_anew(phone, pending, taken), is_anew=taken.id != pending.id)

    def wishes_anew(self, phone: Phone, before: PendingSet, taken: PendingSet) -> list[Wish]:
        """What the edits of a set that was taken up stand on."""
        old = {wish.key: wish for wish in self.sets[before.id, before.version].wishes}
        bases = {edit.key[0]: edit.base for edit in before.edits}
        found = []
        for edit in taken.edits:
            key = edit.key[0]
            wish = replace(old[key], action=edit.action.value, values=edit.values)
            if edit.base is not None and edit.base != bases[key]:
                past = self.ledger.past[key]
                same = [i for i, s in enumerate(past) if s.row and {n: s.row[n] for n in self.columns} == edit.base]
                wish = replace(wish, seen=same[-1], covered_by=frozenset(), chain=frozenset())
            is_blind = edit.base is None and edit.after is None and edit.action != "create"
            found.append(replace(wish, is_blind=is_blind))
        return found

    async def download(self, phone: Phone, cut: int | None = None) -> None:
        before = {key: id(row) for key, row in phone.told.items()}
        is_whole = await phone.download(cut=cut, rows_per_step=1000 if cut is None else self.r.choice([1, 2, 1000]))
        staged = await self.staged_places()
        places = self.seen[phone.name]
        for key, row in phone.told.items():
            if is_whole or before.get(key) != id(row):
                places[key] = staged[key]
        self.follow(phone)
        self.say(f"{phone.name} downloads{'' if is_whole else f', cut at line {cut}'}")

    # Playback

    async def staged_places(self) -> dict[str, int]:
        """The state of each row that stands in staging; it never goes back to an earlier one."""
        rows = await self.database.fetch("select id::text, stamp, _live from staging.contact")
        places = {
            key: self.ledger.place(key, stamp) if is_live else len(self.ledger.past[key]) - 1
            for key, stamp, is_live in rows
        }
        back = {self.row_name(key) for key, place in self.staged_last.items() if places[key] < place}
        assert not back, f"staging went back: {back}"
        self.staged_last = places
        return places

    async def due(self) -> list[str]:
        rows = await self.database.fetch(
            "select id::text from satchel.edit_set where state in ('waiting', 'sending') order by number"
        )
        return [row[0] for row in rows]

    def moods(self) -> list[str]:
        count = self.r.choice([0, 0, 1, 2])
        return [self.r.choice([*LOSSES, *LOSSES, "ok", "ok", "refused", "refused_412", "busy"]) for _ in range(count)]

    async def play_some(self) -> None:
        due = await self.due()
        if not due:
            return
        for each in due:
            self.source.moods[each] = self.moods()
        if self.r.random() < 0.5:
            await self.play_all()
            return
        one = self.r.choice(due)
        if self.r.random() < 0.5:
            self.source.after_play = lambda: self.meanwhile(one)
        await self.play([one])
        self.source.after_play = None

    async def meanwhile(self, set_id: str) -> None:
        """Others change a row of a set that was executed just now, and it is pulled before its verdict."""
        version = max(v for i, v in self.sets if i == set_id)
        keys = [wish.key for wish in self.sets[set_id, version].wishes]
        self.others_change(self.r.choice(keys))
        if self.page is None and self.r.random() < 0.7:
            await self.ask_for_page()
            await self.apply_page()

    async def play_all(self) -> None:
        """All that may be played, a device's after the other's where both change a row."""
        for phone in self.r.sample(self.phones, 2):
            sets = [each for each in await self.due() if self.maker(each) is phone]
            if sets:
                await self.play(sets)

    def maker(self, set_id: str) -> Phone:
        return next(made.phone for (known, _), made in self.sets.items() if known == set_id)

    async def play(self, sets: list[str]) -> None:
        before = await self.staged_places()
        for each in sets:
            self.lost_at.setdefault(each, before)
        moods = {self.label(each): found for each in sets if (found := list(self.source.moods.get(each, ())))}
        self.say(f"playback of {[self.label(each) for each in sets]} {moods or ''}")
        await self.database.fetch(
            "update satchel.edit_set set next_at = case when id = any(%(sets)s::uuid[]) then now() else 'infinity' end",
            {"sets": sets},
        )
        await playback(self.work)
        await self.check_verdicts(before)

    def label(self, set_id: str) -> str:
        version = max(v for i, v in self.sets if i == set_id)
        return self.sets[set_id, version].label

    # Laws of verdicts

    async def check_verdicts(self, before: dict[str, int]) -> None:
        rows = await self.database.fetch(
            "select id::text, version, verdict, outcome from satchel.edit_set where verdict is not null order by number"
        )
        for set_id, version, verdict, text in rows:
            fate = self.fates[set_id]
            if any(known == version for known, _ in fate.verdicts):
                continue
            fate.verdicts.append((version, verdict))
            self.say(f"  {self.label(set_id)}: {verdict} {_short(text)}")
            if verdict == "withdrawn":
                self.check_withdrawn(set_id)
            else:
                start = self.lost_at[set_id] if set_id in self.source.lost else before
                Check(self, set_id, version, json.loads(text), start).check()
            self.last_verdict[set_id] = len(self.ledger.moves)
            self.lost_at.pop(set_id, None)
            self.source.lost.discard(set_id)
            self.source.refused.discard(set_id)
        for each in [each for each in self.lost_at if each not in self.source.lost]:
            del self.lost_at[each]

    def check_withdrawn(self, set_id: str) -> None:
        if not self.fates[set_id].is_uncertain:
            assert not any(state.author == set_id for past in self.ledger.past.values() for state in past)

    # Laws of copies

    def check_tables(self) -> None:
        """What a device shows is what it was told, with its pending edits on top; what it was told was once so."""
        for phone in self.phones:
            pending = [
                Wish(edit.key[0], edit.action.value, edit.values, None)
                for each in phone.pending()
                if each.state in {SetState.WAITING, SetState.SENT}
                for edit in each.edits
            ]
            expected = shown(phone.told, pending, self.columns)
            assert phone.table(self.columns) == expected, f"what {phone.name} shows"
            for key, row in phone.told.items():
                state = self.ledger.past[key][self.seen[phone.name][key]].row
                assert state is not None
                assert row == {name: state[name] for name in self.columns}, f"what {phone.name} was told"

    async def check_quiet(self) -> None:
        """Everything is equal everywhere, and each set has come to one end."""
        async with self.database.connection() as connection:
            assert not await unsettled(connection)
        rows = await self.database.fetch("select row_to_json(t) from staging.contact t where _live")
        staged = {row["id"]: {name: row[name] for name in ("id", *ATTRIBUTES, STAMP)} for (row,) in rows}
        there = {key: past[-1].row for key, past in self.ledger.past.items() if past[-1].row}
        assert staged == there, "staging and source"
        for phone in self.phones:
            own = {key: row for key, row in there.items() if row and self.is_in_scope(phone, row)}
            expected = {key: {name: row[name] for name in self.columns} for key, row in own.items()}
            assert phone.table(self.columns) == expected, f"{phone.name} and source"
        await self.check_ends()
        self.check_order()

    def is_in_scope(self, phone: Phone, row: Row) -> bool:
        return not self.rules.is_own_only or row["owner"] == phone.user

    async def check_ends(self) -> None:
        rows = await self.database.fetch("select id::text, state, verdict from satchel.edit_set")
        journal = {row[0]: (row[1], row[2]) for row in rows}
        written = {state.author for past in self.ledger.past.values() for state in past} - {None}
        assert written <= journal.keys()
        for set_id, fate in self.fates.items():
            if set_id not in journal:
                assert fate.is_undone or fate.verdicts == [], set_id
                assert set_id not in written, f"{self.label(set_id)} was never sent, and is executed"
                continue
            state, verdict = journal[set_id]
            assert state == "settled", f"{self.label(set_id)} has no end"
            if verdict in {"superseded", "withdrawn"} and not fate.is_uncertain:
                assert set_id not in written, f"{self.label(set_id)} is {verdict}, and executed"

    def check_order(self) -> None:
        """What a device does to a row is done in the order in which it was made."""
        by_id = {set_id: made for (set_id, _), made in self.sets.items()}
        for key, past in self.ledger.past.items():
            for phone in self.phones:
                mine = [by_id[s.author] for s in past if s.author and by_id[s.author].phone is phone]
                numbers = [made.number for made in mine if not made.is_anew]
                assert numbers == sorted(numbers), f"order of {self.row_name(key)} by {phone.name}"

    # The way

    async def step(self) -> None:
        r = self.r
        phone = r.choice(self.phones)
        chance = r.random()
        if chance < 0.28:
            self.edit(phone)
        elif chance < 0.34:
            home = [each for each in phone.pending() if each.state.is_in_effect]
            if home:
                self.discard(phone, r.choice(home).number, with_dependents=r.random() < 0.5)
        elif chance < 0.40:
            self.decide(phone)
        elif chance < 0.52:
            is_heard, is_answered = r.choice([(True, True), (True, True), (True, False), (False, False)])
            await phone.upload(is_heard=is_heard, is_answered=is_answered)
            self.say(f"{phone.name} uploads{'' if is_heard else ', not heard'}{'' if is_answered else ', no answer'}")
        elif chance < 0.62:
            await self.download(phone, r.choice([None, None, r.randint(0, 8)]))
        elif chance < 0.76:
            self.others_change()
        elif chance < 0.84:
            await (self.ask_for_page() if self.page is None else self.apply_page())
        elif chance < 0.87:
            await self.pull()
        else:
            await self.play_some()
        self.check_tables()

    async def run(self) -> None:
        await self.begin()
        for _ in range(self.r.randint(15, 40)):
            await self.step()
        if self.rows_in_doubt():
            self.others_change()
        await self.end()
        self.check_tables()
        await self.check_quiet()


class Check:
    """One verdict against the reference."""

    def __init__(
        self, history: History, set_id: str, version: int, outcome: dict[str, Any], before: dict[str, int]
    ) -> None:
        self.history, self.set_id, self.outcome, self.before = history, set_id, outcome, before
        self.made = history.sets[set_id, version]
        self.is_lost = set_id in history.source.lost
        own = {i for (i, _), made in history.sets.items() if made.phone is self.made.phone}
        undone = {i for i in own if history.fates[i].is_undone or history.fates[i].is_uncertain}
        # What else the source put into a new row is not known where its answer was lost.
        unset = {
            wish.key: frozenset(ATTRIBUTES) - wish.values.keys()
            for (i, _), made in history.sets.items()
            for wish in made.wishes
            if wish.action == "create" and i in own & history.source.ever_lost
        }
        blurred = {key: unset.get(key, frozenset()) | self._at_once(key, own) for key in self._keys()}
        self.reader = Reader(self.made.phone.user, own - {set_id}, undone, blurred)
        self.writes = {
            wish.key: history.ledger.written_by(set_id, wish.key, history.last_verdict.get(set_id, 0))
            for wish in self.made.wishes
        }

    def _keys(self) -> set[str]:
        return {wish.key for wish in self.made.wishes}

    def _at_once(self, key: str, own: Collection[str]) -> frozenset[str]:
        """What others changed right after an edit that the source did not answer with the row: it was read later."""
        past = [] if self.history.source.tells else self.history.ledger.past.get(key, [])
        pairs = [(one.row, then.row) for one, then in pairwise(past) if one.author in own and then.author is None]
        return frozenset(n for one, then in pairs if one and then for n in ATTRIBUTES if one[n] != then[n])

    def check(self) -> None:
        verdict = self.outcome["verdict"]
        if verdict in {"accepted", "merged"}:
            return self._executed(verdict)
        if self._is_uncertain():
            assert self.is_lost, "no answer was lost"
            self.history.fates[self.set_id].is_uncertain = True
            return None
        if any(self.writes.values()):
            assert self._came_back(), f"{verdict}, and it was executed"
            self.history.fates[self.set_id].is_uncertain = True
        if verdict == "rejected":
            return self._rejected()
        course = Course(verdict)
        met = [each for wish in self.made.wishes for each in self._opinions(wish) if each.course is course]
        assert met, f"{verdict}, and nobody would say so: {self._all_opinions()}"
        overlaps = [frozenset(each.get("overlap", ())) for each in self.outcome["edits"]]
        if course is Course.CONFLICT:
            assert all(overlap in {each.overlap for each in met} for overlap in overlaps), (overlaps, met)
        return None

    def _is_uncertain(self) -> bool:
        return any(each.get("code") == UNCERTAIN for each in self.outcome.get("edits", ()))

    def _executed(self, verdict: str) -> None:
        is_merged = set()
        for wish in self.made.wishes:
            places = self.writes[wish.key]
            if not places:
                self._agree(wish, verdict)
                continue
            assert len(places) == 1 or self._came_back(), f"executed {len(places)} times"
            said = {each.course for each in self._opinions_at(wish, places[-1] - 1)}
            assert said & {Course.WRITE, Course.MERGE}, f"written, and it should be {said}"
            is_merged.add(Course.MERGE in said if len(said & {Course.WRITE, Course.MERGE}) == 1 else None)
        if not self.is_lost and None not in is_merged:
            assert (verdict == "merged") is (True in is_merged), f"{verdict}: {self._all_opinions()}"

    def _agree(self, wish: Wish, verdict: str) -> None:
        """Nothing was written, so the row was as it was to be."""
        courses = {at: {each.course for each in self._opinions_at(wish, at)} for at in self._places(wish)}
        places = [at for at, said in courses.items() if Course.NOTHING in said]
        assert places, f"{verdict} without a write: {self._all_opinions()}"
        self.history.ledger.past[wish.key][places[0]].agreed[self.set_id] = wish.values

    def _came_back(self) -> bool:
        """A row that was made, whose answer was lost, and that others deleted, counts as never made: nothing tells."""
        past = self.history.ledger.past
        made = [each.key for each in self.made.wishes if each.action == "create"]
        return self.is_lost and any(state.row is None and not state.author for key in made for state in past[key])

    def _rejected(self) -> None:
        (told,) = self.outcome["edits"]
        reason = told["reason"]
        if reason == "source":
            assert self.set_id in self.history.source.refused, told
            return
        said = {each.course for wish in self.made.wishes for each in self._opinions(wish)}
        assert reason in {"deleted", "scope"}, told
        assert Course(reason) in said, f"{told}: {self._all_opinions()}"

    def _opinions(self, wish: Wish) -> set[Opinion]:
        """As of any state of the row between what stood in staging and what stands at the source."""
        return {each for at in self._places(wish) for each in self._opinions_at(wish, at)}

    def _places(self, wish: Wish) -> range:
        return range(self.before.get(wish.key, -1), len(self.history.ledger.past.get(wish.key, ())))

    def _opinions_at(self, wish: Wish, at: int) -> set[Opinion]:
        past = self.history.ledger.past.get(wish.key, [])
        return self.reader.opinions(self.history.rules, wish, past, at)

    def _all_opinions(self) -> dict[str, list[str]]:
        said: dict[str, list[str]] = {}
        for wish in self.made.wishes:
            said[self.history.row_name(wish.key)] = sorted(f"{each}" for each in self._opinions(wish))
        return said


def _short(outcome: str) -> str:
    edits: Iterable[dict[str, Any]] = json.loads(outcome).get("edits", ())
    return "; ".join(f"{e.get('reason', '')} {e.get('code', '')} {e.get('overlap', '')}".strip() for e in edits)


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + HISTORIES))
async def test_every_edit_comes_to_the_end_that_the_policy_says(seed: int, staging: Database, tmp_path: Path) -> None:
    history = History(seed, staging, tmp_path)
    try:
        await history.run()
    except Exception as error:
        error.add_note("\n".join(f"{number:3} {text}" for number, text in enumerate(history.steps)))
        raise
    finally:
        for phone in history.phones:
            phone.close()
