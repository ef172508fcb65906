"""What is to become of an edit, in the plainest words: a row's whole past at the source, who wrote each state, and what
a person would say of an edit made on one of these states. It knows nothing of how Satchel finds this out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain, combinations
from typing import Any

Row = dict[str, Any]
ATTRIBUTES = ("name", "status", "due", "owner")
STAMP = "stamp"
"""The source puts another value here whenever anybody writes the row."""


@dataclass(frozen=True)
class State:
    """A row at the source from one write to the next."""

    author: str | None
    """The edit set that made it so; None: others."""
    row: Row | None
    """None: it was deleted."""
    written: frozenset[str]
    """What the author wanted written."""
    serial: int
    agreed: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What edit sets, by id, wanted and found so already."""


class Ledger(dict[tuple[str, tuple[str, ...]], Row]):
    """The rows of a source, which remembers every state there was."""

    def __init__(self) -> None:
        super().__init__()
        self.past: dict[str, list[State]] = {}
        self.moves: list[str] = []
        self.author: str | None = None
        self.writing: Mapping[str, frozenset[str]] = {}

    def __setitem__(self, name: tuple[str, tuple[str, ...]], row: Row) -> None:
        (key,) = name[1]
        row[STAMP] = len(self.past.get(key, ())) + 1
        super().__setitem__(name, row)
        self._remember(key, {attribute: row.get(attribute) for attribute in ("id", *ATTRIBUTES, STAMP)})

    def __delitem__(self, name: tuple[str, tuple[str, ...]]) -> None:
        super().__delitem__(name)
        self._remember(name[1][0], None)

    def _remember(self, key: str, row: Row | None) -> None:
        self.moves.append(key)
        written = self.writing.get(key, frozenset())
        self.past.setdefault(key, []).append(State(self.author, row, written, len(self.moves)))

    def place(self, key: str, stamp: int) -> int:
        """Which state a stamp is of."""
        return next(i for i, state in enumerate(self.past[key]) if state.row and state.row[STAMP] == stamp)

    def written_by(self, set_id: str, key: str, since: int) -> list[int]:
        """The places of the states that a set made of a row."""
        return [i for i, s in enumerate(self.past.get(key, ())) if s.author == set_id and s.serial > since]


@dataclass(frozen=True)
class Wish:
    """One edit, as its device made it."""

    key: str
    action: str
    values: Mapping[str, Any]
    seen: int | None
    """The state of the row that the device had been told; None: the row was made there and was not told yet."""
    covered_by: frozenset[str] = frozenset()
    """Sets of its own device that were pending then: the user saw what they set, not what the device was told below."""
    chain: frozenset[str] = frozenset()
    """Those, what covered their own rows when they were made, and so on."""
    is_blind: bool = False
    """Nobody knows any more what it was made on."""


@dataclass(frozen=True)
class Rules:
    """What the profile says."""

    policy: str
    is_own_only: bool
    """Users have their own rows; else everyone has all."""
    shows_stamp: bool


class Course(StrEnum):
    """What is to be done with an edit."""

    WRITE = "write"
    MERGE = "merge"  # write it, beside what others wrote
    NOTHING = "nothing"  # it is so already
    CONFLICT = "conflict"
    SUPERSEDED = "superseded"
    DELETED = "deleted"
    SCOPE = "scope"


@dataclass(frozen=True)
class Opinion:
    """What to do with an edit, and which attributes both sides changed."""

    course: Course
    overlap: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Reader:
    """Who made an edit: the user, and the sets of the same device."""

    user: str
    own: Collection[str]
    undone: Collection[str]
    """Those of the own sets that the user let go of although they were executed: own or not, both is right."""
    blurred: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Attributes of a row, by its key, of which others' change may be taken for what the source itself put there."""
    remembers: bool = False
    """What the row held after one of the sets that were pending is taken for granted, also where the user was told of
    others' change since and others took it back: Satchel knows the values, not which is newer."""

    def opinions(self, rules: Rules, wish: Wish, past: Sequence[State], at: int) -> set[Opinion]:
        """What may be said of an edit where the row is in its state number `at` (-1: there is none yet)."""
        # Satchel holds on to what a chain of pending sets once set, although the user may have been told of others'
        # change between two of them: it asks where it need not. That is borne here.
        chained = replace(wish, covered_by=wish.chain)
        return self._opinions(rules, wish, past, at) | self._opinions(rules, chained, past, at)

    def _opinions(self, rules: Rules, wish: Wish, past: Sequence[State], at: int) -> set[Opinion]:
        said = {each for state in past[: at + 1] for each in (state.author, *state.agreed)}
        there = sorted(each for each in said if each in self.undone)
        forgotten = chain.from_iterable(combinations(there, n) for n in range(len(there) + 1))
        readers = [replace(self, own={*self.own} - {*gone}) for gone in forgotten]
        return {
            each._opinion(rules, wish, past, at)
            for reader in readers
            for lenient in (reader, replace(reader, remembers=True))
            for each in (lenient, replace(lenient, blurred={}))
        }

    def _opinion(self, rules: Rules, wish: Wish, past: Sequence[State], at: int) -> Opinion:
        row = past[at].row if at >= 0 else None
        if wish.action == "create":
            is_there = row is not None and not _differing(wish, row)
            return Opinion(Course.NOTHING if is_there else Course.WRITE)
        if at < 0 or (row is not None and rules.is_own_only and row["owner"] != self.user):
            return Opinion(Course.SCOPE)
        if row is None:
            return Opinion(Course.NOTHING if wish.action == "delete" else Course.DELETED)
        mine = _differing(wish, row)
        if wish.action == "update" and not mine:
            return Opinion(Course.NOTHING)
        return _weighed(rules.policy, wish, mine, self._changed_by_others(wish, past, at))

    def _changed_by_others(self, wish: Wish, past: Sequence[State], at: int) -> set[str]:
        """What is not as the user left it: as the device was told, and as its own later edits made it.

        The stamp does not count by itself.
        """
        now = past[at].row or {}
        if wish.is_blind:
            return set(now)
        told = past[wish.seen].row if wish.seen is not None else None
        expected = dict(told or {})
        begin = wish.seen + 1 if wish.seen is not None else 0
        for state in past[:begin]:
            expected.update(_set_by(wish.covered_by, state))
        since = past[begin : at + 1]
        for state in since:
            expected.update(_set_by(self.own, state))
        changed = {name for name in ATTRIBUTES if now[name] != expected.get(name)}
        if self.remembers:
            after = [state.row for state in past if state.row and state.author in wish.covered_by]
            changed -= {name for name in changed if now[name] in [row[name] for row in after]}
        return changed - self.blurred.get(wish.key, frozenset())


def _set_by(sets: Collection[str], state: State) -> Row:
    """What these sets made of the row in this state, or found so."""
    found: Row = {name: state.row[name] for name in state.written} if state.row and state.author in sets else {}
    for each in state.agreed.keys() & set(sets):
        found.update(state.agreed[each])
    return found


def _differing(wish: Wish, row: Row) -> set[str]:
    return {name for name, value in wish.values.items() if row[name] != value}


def _weighed(policy: str, wish: Wish, mine: set[str], changed: set[str]) -> Opinion:
    if policy == "device" or not changed:
        return Opinion(Course.WRITE)
    if policy == "server":
        return Opinion(Course.SUPERSEDED)
    overlap = changed & mine if wish.action == "update" else changed
    if policy == "ask" or overlap:
        return Opinion(Course.CONFLICT, frozenset(overlap or mine))
    return Opinion(Course.MERGE)


def shown(told: Mapping[str, Row], pending: Sequence[Wish], columns: Sequence[str]) -> dict[str, Row]:
    """What a device's table holds: what it was told, with its pending edits on top."""
    rows = {key: dict(row) for key, row in told.items()}
    for wish in pending:
        if wish.action == "delete":
            rows.pop(wish.key, None)
        elif wish.action == "create":
            blank = dict.fromkeys(columns) | {"id": wish.key}
            rows[wish.key] = {**rows.get(wish.key, blank), **wish.values}
        elif wish.key in rows:
            rows[wish.key].update(wish.values)
    return rows
