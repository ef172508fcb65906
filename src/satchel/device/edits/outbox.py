"""The outbox: edit sets in the order they were made, each until the source has it or the user lets go of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

import apsw
import msgspec

from satchel.device.edits.identifiers import new_id
from satchel.model.edits import Edit, EditSet, Outcome

TABLES = """
create table if not exists _satchel_set (
    number integer primary key autoincrement, id text not null unique, version integer not null, made_at text not null,
    state text not null, told integer not null default 0, outcome text, note text);
create index if not exists _satchel_set_by_state on _satchel_set (state, number);
create table if not exists _satchel_edit (
    number integer primary key, set_number integer not null, content text not null,
    entity text not null, key text not null);
create index if not exists _satchel_edit_by_set on _satchel_edit (set_number);
create index if not exists _satchel_edit_by_row on _satchel_edit (entity, key);
create table if not exists _satchel_image (
    entity text, key text, content text not null, is_stale integer not null default 0, primary key (entity, key)
) without rowid;
"""
"""`told`: the highest version the server may have. `_satchel_image`: edited rows as the server told them."""

_encode = msgspec.json.Encoder().encode
_decode_edit = msgspec.json.Decoder(Edit).decode
_decode_outcome = msgspec.json.Decoder(Outcome).decode


class SetState(StrEnum):
    """Where an edit set stands."""

    WAITING = "waiting"  # for the next sync
    SENT = "sent"  # the server keeps it, the source has not answered yet
    CONFLICT = "conflict"  # others changed the same: the user decides
    REJECTED = "rejected"  # refused, with a reason
    SUPERSEDED = "superseded"  # others' change counts; kept until the user has seen it
    QUARANTINED = "quarantined"  # its row left the device, or its attributes did; not sent

    @property
    def is_in_effect(self) -> bool:
        """The rows on this device show it."""
        return self in {SetState.WAITING, SetState.SENT}


class PendingSet(msgspec.Struct, kw_only=True):
    """An edit set in the outbox."""

    number: int
    id: str
    version: int
    made_at: str
    state: SetState
    told: int = 0
    outcome: Outcome | None = None
    note: str | None = None
    """Why it is quarantined."""
    edits: tuple[Edit, ...] = ()

    @property
    def is_withdrawal(self) -> bool:
        """The user took it back; the server is still to be told."""
        return not self.edits


_HELD = (SetState.CONFLICT.value, SetState.REJECTED.value)
RowKey = tuple[str, str]
"""Entity, and the key as the JSON array of its parts."""


def row_key(entity: str, key: Sequence[str]) -> RowKey:
    """Names a row in the outbox."""
    return entity, _encode(list(key)).decode()


def add(connection: apsw.Connection, edit_set: EditSet) -> int:
    """Put a set into the outbox, in the caller's transaction; returns its number."""
    connection.execute(
        "insert into _satchel_set (id, version, made_at, state) values (?, ?, ?, ?)",
        (edit_set.id, edit_set.version, edit_set.made_at, SetState.WAITING.value),
    )
    number = connection.last_insert_rowid()
    _add_edits(connection, number, edit_set.edits)
    return number


def replace(connection: apsw.Connection, pending: PendingSet, edits: Sequence[Edit]) -> None:
    """Take a set up again with these edits: as its next version, or under a new name where it was settled."""
    if pending.outcome is not None and pending.outcome.verdict.is_final:
        send_anew(connection, pending, edits)
    else:
        _take_up(connection, pending, (pending.id, pending.version + 1, pending.told), edits)


def send_anew(connection: apsw.Connection, pending: PendingSet, edits: Sequence[Edit]) -> None:
    """Put a set of these edits into the place of one that is settled."""
    _take_up(connection, pending, (new_id(), 1, 0), edits)


def rewrite(connection: apsw.Connection, pending: PendingSet, edits: Sequence[Edit]) -> None:
    """Change what is kept of a set's edits; the set itself stays what it is."""
    connection.execute("delete from _satchel_edit where set_number = ?", (pending.number,))
    _add_edits(connection, pending.number, edits)


def hand_on(connection: apsw.Connection, gone: PendingSet) -> None:
    """A set goes no further. Where the server may never have heard of it, later sets stand on what it stood on; those
    of them that the server may have go there once more."""
    if gone.told and (gone.state is not SetState.WAITING or gone.version > 1):
        return
    stood_on = {row_key(edit.entity, edit.key): edit.after for edit in gone.edits}
    later = {each.number: each for row in stood_on for each in of_row(connection, row)}
    for each in later.values():
        if each.state.is_in_effect and any(edit.after == gone.id for edit in each.edits):
            edits = [
                msgspec.structs.replace(edit, after=stood_on.get(row_key(edit.entity, edit.key)))
                if edit.after == gone.id
                else edit
                for edit in each.edits
            ]
            (rewrite if each.told == 0 else replace)(connection, each, edits)


def remove(connection: apsw.Connection, number: int) -> None:
    """Drop a set."""
    connection.execute("delete from _satchel_edit where set_number = ?", (number,))
    connection.execute("delete from _satchel_set where number = ?", (number,))


def move(
    connection: apsw.Connection,
    number: int,
    state: SetState,
    *,
    outcome: Outcome | None = None,
    note: str | None = None,
) -> None:
    """Note where a set stands now."""
    text = None if outcome is None else _encode(outcome).decode()
    connection.execute(
        "update _satchel_set set state = ?, outcome = ?, note = ? where number = ?", (state.value, text, note, number)
    )


def send_again(connection: apsw.Connection) -> None:
    """The server may have lost what it was sent; where it has not, it drops what comes twice."""
    connection.execute("update _satchel_set set state = 'waiting' where state = 'sent'")


def note_offered(connection: apsw.Connection, offered: Sequence[tuple[int, int]]) -> None:
    """Note, before they are sent, that the server may have these (number, version) from now on."""
    connection.executemany("update _satchel_set set told = max(told, ?2) where number = ?1", offered)


def note_sent(connection: apsw.Connection, sent: Sequence[tuple[int, int]]) -> None:
    """Note that the server has these (number, version), unless they were taken up again meanwhile."""
    connection.executemany(
        "update _satchel_set set state = 'sent' where number = ?1 and version = ?2 and state = 'waiting'",
        sent,
    )


def find(connection: apsw.Connection, number: int) -> PendingSet | None:
    """A set by its number."""
    return next(_sets(connection, "number = ?", (number,)), None)


def find_id(connection: apsw.Connection, set_id: str) -> PendingSet | None:
    """A set by its id."""
    return next(_sets(connection, "id = ?", (set_id,)), None)


def all_sets(connection: apsw.Connection) -> Iterator[PendingSet]:
    """Every set, in order."""
    return _sets(connection, "true", ())


def waiting(connection: apsw.Connection, *, after: int, limit: int, max_bytes: int) -> list[PendingSet]:
    """The next sets to be sent, in order: so many that their edits have no more bytes than that, at least one."""
    sizes = connection.execute(
        "select s.number, coalesce(sum(octet_length(e.content)), 0) from _satchel_set s"
        " left join _satchel_edit e on e.set_number = s.number where s.state = 'waiting' and s.number > ?"
        " group by s.number order by s.number limit ?",
        (after, limit),
    )
    last = total = 0
    for number, size in sizes.fetchall():
        total += int(str(size))
        if last and total > max_bytes:
            break
        last = int(str(number))
    return list(_sets(connection, "state = 'waiting' and number > ? and number <= ?", (after, last)))


def of_row(connection: apsw.Connection, row: RowKey) -> list[PendingSet]:
    """The sets that change a row, in order."""
    condition = "number in (select set_number from _satchel_edit where entity = ? and key = ?)"
    return list(_sets(connection, condition, row))


def has_row(connection: apsw.Connection, row: RowKey) -> bool:
    """A set changes the row."""
    return bool(connection.execute("select 1 from _satchel_edit where entity = ? and key = ? limit 1", row).fetchall())


def last_in_effect(connection: apsw.Connection, row: RowKey) -> str | None:
    """The id of the last set that changes the row, of those that the rows on this device show."""
    found = connection.execute(
        "select s.id from _satchel_edit e join _satchel_set s on s.number = e.set_number"
        " where e.entity = ? and e.key = ? and s.state in ('waiting', 'sent') order by e.set_number desc limit 1",
        row,
    ).fetchall()
    return str(found[0][0]) if found else None


def entered_only(pending: PendingSet) -> PendingSet:
    """A set without anything of its rows but what the user entered, and what stood there before."""
    edits = tuple(
        msgspec.structs.replace(e, base={n: v for n, v in e.base.items() if n in e.values}) if e.base else e
        for e in pending.edits
    )
    outcome = pending.outcome
    if outcome is not None:
        told = tuple(msgspec.structs.replace(each, theirs=None) for each in outcome.edits)
        outcome = msgspec.structs.replace(outcome, edits=told)
    return msgspec.structs.replace(pending, edits=edits, outcome=outcome)


def strip(connection: apsw.Connection) -> None:
    """Keep nothing of rows but what the user entered, and what stood there before."""
    connection.execute("delete from _satchel_image")
    for pending in map(entered_only, list(all_sets(connection))):
        rewrite(connection, pending, pending.edits)
        if pending.outcome is not None:
            move(connection, pending.number, pending.state, outcome=pending.outcome, note=pending.note)


def counts(connection: apsw.Connection) -> dict[str, int]:
    """How many sets there are, by state."""
    found = connection.execute("select state, count(*) from _satchel_set group by state order by state")
    return {str(state): int(str(count)) for state, count in found}


def playable_count(connection: apsw.Connection) -> int:
    """How many sets the server has and can play: none before them waits for the user's decision on a row of theirs.

    Cost: one pass over the outbox.
    """
    blocked: set[object] = set()
    count = 0
    found = connection.execute(
        "select s.state, json_group_array(json_array(e.entity, e.key)) filter (where e.entity is not null)"
        " from _satchel_set s left join _satchel_edit e on e.set_number = s.number group by s.number order by s.number"
    )
    for state, listed in found:
        rows = [tuple(row) for row in msgspec.json.decode(str(listed))]
        if state in _HELD or not blocked.isdisjoint(rows):
            blocked.update(rows)
        elif state == SetState.SENT:
            count += 1
    return count


def edited_rows(connection: apsw.Connection) -> dict[str, set[str]]:
    """The keys of rows that any edit in the outbox names, by entity."""
    found: dict[str, set[str]] = {}
    for entity, key in connection.execute("select distinct entity, key from _satchel_edit"):
        found.setdefault(str(entity), set()).add(str(key))
    return found


def _sets(connection: apsw.Connection, condition: str, parameters: tuple[object, ...]) -> Iterator[PendingSet]:
    order = "" if "order by" in condition else " order by number"
    rows = connection.execute(
        f"select number, id, version, made_at, state, told, outcome, note from _satchel_set where {condition}{order}",
        parameters,
    ).fetchall()
    row: tuple[Any, ...]
    for row in rows:
        number, set_id, version, made_at, state, told, outcome, note = row
        edits = connection.execute("select content from _satchel_edit where set_number = ? order by number", (number,))
        yield PendingSet(
            number=number,
            id=set_id,
            version=version,
            made_at=made_at,
            state=SetState(state),
            told=told,
            outcome=_decode_outcome(outcome) if outcome else None,
            note=note,
            edits=tuple(_decode_edit(str(content)) for (content,) in edits),
        )


def _take_up(
    connection: apsw.Connection, pending: PendingSet, name: tuple[str, int, int], edits: Sequence[Edit]
) -> None:
    """`name`: id, version, and the highest version that the server may have."""
    connection.execute(
        "update _satchel_set set id = ?, version = ?, told = ?, state = ?, outcome = null, note = null"
        " where number = ?",
        (*name, SetState.WAITING.value, pending.number),
    )
    rewrite(connection, pending, edits)


def _add_edits(connection: apsw.Connection, number: int, edits: Sequence[Edit]) -> None:
    connection.executemany(
        "insert into _satchel_edit (set_number, content, entity, key) values (?, ?, ?, ?)",
        [(number, _encode(edit).decode(), *row_key(edit.entity, edit.key)) for edit in edits],
    )
