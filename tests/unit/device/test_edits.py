"""Edits on the device where they meet what the server tells: resets, revocation, lost receipts, changed models."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from satchel.device.apply import Applier
from satchel.device.edits import outbox, sender, verdicts
from satchel.device.edits.editing import Changes
from satchel.device.edits.outbox import SetState
from satchel.device.edits.overlay import Overlay
from satchel.device.edits.upload import upload
from satchel.device.store import Store
from satchel.errors import SourceUnreachable
from satchel.model.client_model import ClientAttribute, ClientEntity, ClientModel
from satchel.model.edits import Receipt
from satchel.model.metadata import AttributeType as T
from satchel.protocol.messages import EditsAnswer, EditsRequest
from tests.unit.device import lines as l

A = "00000000-0000-4000-8000-00000000000a"
B = "00000000-0000-4000-8000-00000000000b"
MODEL = ClientModel(
    (
        msgspec.structs.replace(
            l.CONTACT,
            attributes=tuple(
                msgspec.structs.replace(a, is_creatable=True, is_updatable=True) for a in l.CONTACT.attributes
            ),
            is_read_only=False,
            conflicts="merge",
        ),
        ClientEntity(
            name="num",
            key=("n",),
            attributes=(
                ClientAttribute(name="n", type=T.INTEGER),
                ClientAttribute(name="t", type=T.STRING, is_creatable=True, is_updatable=True),
            ),
            is_read_only=False,
            conflicts="merge",
        ),
    )
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "device.sqlite", None)
    yield opened
    opened.close()


def apply(store: Store, *lines: dict[str, Any]) -> None:
    with Applier(store) as applier:
        for line in l.decoded(lines):
            if applier.take(line):
                break


def update(store: Store, key: Any, entity: str = "contact", **values: Any) -> int:
    with store.transaction() as c:
        changes = Changes(c, store.model)
        changes.update(entity, key, values)
        number = changes.keep()
    assert number
    return number


def taken(request: EditsRequest) -> EditsAnswer:
    """A server that takes everything."""
    return EditsAnswer([Receipt(msgspec.json.decode(raw)["id"], 1) for raw in request.sets])


def names(store: Store) -> dict[str, str]:
    return dict(store.connection.execute("select contactid, fullname from contact").fetchall())


def test_row_edited_during_a_reset_leaves_when_revoked(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A), l.contact(B)), l.end("c1"))
    # a reset begins; its first step ends with a cursor; row B is no longer the user's, and never comes again
    apply(store, l.begin(reset=True), l.cursor("r1"))
    update(store, B, fullname="typed")
    apply(store, l.begin(), l.put(l.contact(A)), l.end("r2"))
    left = store.connection.execute("select content from _satchel_image").fetchall()
    base = [e.base for s in outbox.all_sets(store.connection) for e in s.edits]
    assert (names(store), left, base) == ({A: "Ann"}, [], [None])


def test_a_discarded_set_whose_receipt_was_lost_is_withdrawn(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c1"))
    number = update(store, A, fullname="typed")
    server: dict[str, int] = {}

    def post(request: EditsRequest) -> EditsAnswer:
        for raw in request.sets:
            each = msgspec.json.decode(raw)
            server[each["id"]] = len(each.get("edits", []))
        raise SourceUnreachable("the answer was lost")

    with pytest.raises(SourceUnreachable):
        upload(store, post)
    with store.transaction() as c:
        overlay = Overlay(c, store.model)
        verdicts.discard(c, overlay, number)
        overlay.finish(is_complete=False)
    with contextlib.suppress(SourceUnreachable):
        upload(store, post)
    assert set(server.values()) == {0}, "the server still holds the edit and executes it"


def test_integer_keys_are_canonical(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), {"put": "num", "columns": ["n", "t"], "rows": [[1, "x"]]}, l.end("c1"))
    update(store, "01", "num", t="typed")
    apply(store, l.begin(), {"put": "num", "columns": ["n", "t"], "rows": [[1, "y"]]}, l.end("c2"))
    assert store.connection.execute("select t from num").fetchall() == [("typed",)]


def test_sent_sets_survive_a_server_that_lost_its_journal(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c1"))
    update(store, A, fullname="typed")
    upload(store, taken)
    apply(store, l.begin(reset=True), l.put(l.contact(A)), l.end("r2"))  # another epoch: journal made anew
    again: list[Any] = []

    def post(request: EditsRequest) -> EditsAnswer:
        again.extend(request.sets)
        return taken(request)

    upload(store, post)
    assert again, "sent for ever: the server does not have it and is never asked"


def test_withdrawal_is_not_lost_to_a_late_refusal(store: Store) -> None:
    """Version 1 was rejected and tried again as 2; while 2 is on its way it is discarded (3), then 2 is refused."""
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c1"))
    number = update(store, A, fullname="typed")
    upload(store, taken)
    with store.transaction() as c:
        outbox.move(c, number, SetState.REJECTED)
        overlay = Overlay(c, store.model)
        verdicts.retry(c, overlay, number)

    def post(request: EditsRequest) -> EditsAnswer:
        with store.transaction() as c:
            overlay = Overlay(c, store.model)
            verdicts.discard(c, overlay, number)
        return EditsAnswer([Receipt(msgspec.json.decode(r)["id"], 0, "It is too large.") for r in request.sets])

    upload(store, post)
    states = [(s.version, s.state) for s in outbox.all_sets(store.connection)]
    assert states == [(3, SetState.WAITING)]


def test_theirs_of_a_column_that_was_taken_away_is_not_kept(store: Store) -> None:
    """Judged while the user could read creditlimit; the column is revoked before the verdict is fetched."""
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c1"))
    number = update(store, A, fullname="typed")
    upload(store, taken)
    pending = outbox.find(store.connection, number)
    assert pending
    entity = msgspec.structs.replace(
        MODEL.entities[0], attributes=tuple(a for a in MODEL.entities[0].attributes if a.name != "creditlimit")
    )
    columns = [a.name for a in entity.attributes]
    row = dict(zip(l.CONTACT_COLUMNS, l.contact(A, "Theirs"), strict=True))
    outcome = {
        "set": pending.id,
        "version": 1,
        "verdict": "conflict",
        "edits": [
            {
                "id": pending.edits[0].id,
                "verdict": "conflict",
                "overlap": ["fullname"],
                "theirs": {**row, "creditlimit": "secret"},
            }
        ],
    }
    apply(
        store,
        l.begin(),
        l.model(ClientModel((entity,))),
        {"put": "contact", "columns": columns, "rows": [[row[c] for c in columns]]},
        {"outcome": outcome},
        l.end("c2"),
    )
    text = store.connection.execute("select outcome from _satchel_set").fetchall()
    assert "secret" not in str(text)


def test_base_leaves_with_a_revoked_row_whose_key_a_rejected_create_names(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c1"))
    with store.transaction() as c:
        changes = Changes(c, store.model)
        changes.create("contact", {"contactid": B, "fullname": "mine"})
        pending = outbox.find(c, changes.keep() or 0)
        assert pending is not None
        outbox.move(c, pending.number, SetState.REJECTED)
        overlay = Overlay(c, store.model)
        overlay.touch(pending.edits)
        overlay.finish(is_complete=False)
    apply(store, l.begin(), l.put(l.contact(B, "Theirs", "77.77")), l.end("c2"))
    update(store, B, fullname="typed")
    apply(store, l.begin(), l.remove(B), l.end("c3"))
    assert "77.77" not in str(store.connection.execute("select content from _satchel_edit").fetchall())


def test_sender_does_not_hammer(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server cannot take yet (version 1 is under way) is posted again every 0.1 s: no error, no pause."""
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c1"))
    update(store, A, fullname="typed")
    posts: list[Any] = []

    class Post:
        def __init__(self, _: Any) -> None: ...
        def close(self) -> None: ...
        def post_edits(self, request: Any) -> EditsAnswer:
            posts.append(1)
            return EditsAnswer([Receipt(msgspec.json.decode(r)["id"], 0) for r in request.sets])

    monkeypatch.setattr(sender, "Endpoint", Post)
    with sender.sending(lambda: Store(tmp_path / "device.sqlite", None), None, lambda e: None):  # type: ignore[arg-type]
        time.sleep(2.0)
    assert len(posts) <= 3, len(posts)


def test_a_row_edited_before_a_reset_leaves_when_revoked(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A), l.contact(B)), l.end("c1"))
    number = update(store, B, fullname="typed")
    apply(store, l.begin(reset=True), l.put(l.contact(A)), l.end("r1"))
    pending = outbox.find(store.connection, number)
    assert pending is not None
    assert (names(store), pending.state, pending.edits[0].base) == ({A: "Ann"}, SetState.QUARANTINED, None)
    assert pending.edits[0].values == {"fullname": "typed"}


def test_a_verdict_on_what_was_taken_up_again_does_not_count(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c1"))
    number = update(store, A, fullname="typed")
    upload(store, taken)
    pending = outbox.find(store.connection, number)
    assert pending is not None
    with store.transaction() as c:
        outbox.move(c, number, SetState.REJECTED)
        overlay = Overlay(c, store.model)
        verdicts.retry(c, overlay, number)
        overlay.finish(is_complete=False)
    late = {"outcome": {"set": pending.id, "version": 1, "verdict": "accepted"}}
    apply(store, l.begin(), late, l.end("c2"))
    found = outbox.find(store.connection, number)
    assert found is not None
    assert found.state is SetState.WAITING


def test_edits_stay_on_top_of_what_the_server_tells(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c1"))
    update(store, A, fullname="typed")
    apply(store, l.begin(), l.put(l.contact(A, "Theirs", "77.77")), l.end("c2"))
    assert store.connection.execute("select fullname, creditlimit from contact").fetchall() == [("typed", 77.77)]


def test_an_attribute_that_vanished_quarantines_and_an_added_one_does_not(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A), l.contact(B)), l.end("c1"))
    gone, stays = update(store, A, creditlimit="5"), update(store, B, fullname="typed")
    contact = MODEL.entities[0]
    kept = tuple(a for a in contact.attributes if a.name != "creditlimit")
    added = (*kept, ClientAttribute(name="nickname", type=T.STRING))
    apply(store, l.begin(), l.model(ClientModel((msgspec.structs.replace(contact, attributes=added),))), l.end("c2"))
    states = {p.number: (p.state, p.note) for p in outbox.all_sets(store.connection)}
    assert states[stays][0] is SetState.WAITING
    assert states[gone][0] is SetState.QUARANTINED
    assert "creditlimit" in (states[gone][1] or "")
    assert names(store)[B] == "typed"


def discard(store: Store, number: int) -> None:
    with store.transaction() as c:
        overlay = Overlay(c, store.model)
        verdicts.discard(c, overlay, number)
        overlay.finish(is_complete=False)


def stands_on(store: Store, number: int) -> tuple[str | None, int]:
    """The set that a set's edit stands on, and the set's version."""
    pending = outbox.find(store.connection, number)
    assert pending is not None
    return pending.edits[0].after, pending.version


def test_what_stood_on_an_undone_set_stands_on_what_that_one_stood_on(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c", 1))
    first, second, third = (update(store, A, fullname=each) for each in "123")
    first_set = outbox.find(store.connection, first)
    assert first_set is not None
    discard(store, second)
    assert stands_on(store, third) == (first_set.id, 1)
    discard(store, first)
    assert stands_on(store, third) == (None, 1)


def test_what_the_server_may_have_goes_there_again_with_what_it_stands_on_now(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c", 1))
    first, second, third = (update(store, A, fullname=each) for each in "123")
    first_set = outbox.find(store.connection, first)
    assert first_set is not None

    def unheard(_: EditsRequest) -> EditsAnswer:
        raise SourceUnreachable("no answer")

    with contextlib.suppress(SourceUnreachable):
        upload(store, unheard)
    discard(store, second)
    assert stands_on(store, third) == (first_set.id, 2)
    seen = []

    def listening(request: EditsRequest) -> EditsAnswer:
        seen.extend(msgspec.json.decode(raw) for raw in request.sets)
        return EditsAnswer([Receipt(each["id"], each.get("version", 1)) for each in seen])

    upload(store, listening)
    assert [len(each.get("edits", [])) for each in seen] == [1, 0, 1]  # the second one is withdrawn
    assert seen[2]["edits"][0]["after"] == first_set.id


def test_a_sync_waits_only_for_what_can_be_played(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A), l.contact(B)), l.end("c", 1))
    conflict, behind, other = (
        update(store, A, fullname="1"),
        update(store, A, fullname="2"),
        update(store, B, fullname="3"),
    )
    upload(store, taken)
    assert outbox.playable_count(store.connection) == 3
    with store.transaction() as c:
        outbox.move(c, conflict, SetState.CONFLICT)
    assert outbox.playable_count(store.connection) == 1
    with store.transaction() as c:
        outbox.remove(c, other)
    assert outbox.playable_count(store.connection) == 0
    discard(store, behind)
    upload(store, lambda request: EditsAnswer([Receipt(msgspec.json.decode(raw)["id"], 2) for raw in request.sets]))
    assert outbox.playable_count(store.connection) == 1  # the server is to say that it is withdrawn


def test_what_is_sent_at_once_is_bounded(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c", 1))
    numbers = [update(store, A, fullname=f"{n} " + "x" * size) for n, size in enumerate([400, 400, 5000, 400])]

    def loaded(after: int) -> list[int]:
        return [s.number for s in outbox.waiting(store.connection, after=after, limit=200, max_bytes=2500)]

    assert loaded(0) == numbers[:2]
    assert loaded(numbers[1]) == [numbers[2]], "one that is larger goes alone"
    assert loaded(numbers[2]) == [numbers[3]]
    assert loaded(numbers[3]) == []
    requests: list[int] = []

    def post(request: EditsRequest) -> EditsAnswer:
        requests.append(len(request.sets))
        return taken(request)

    assert upload(store, post) == 4
    assert requests == [4]


def test_what_stood_on_a_quarantined_set_stands_on_what_that_one_stood_on(store: Store) -> None:
    apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c1"))
    first, second = update(store, A, fullname="1"), update(store, A, creditlimit="5")
    third = update(store, A, fullname="3")
    first_set = outbox.find(store.connection, first)
    assert first_set is not None
    contact = MODEL.entities[0]
    kept = tuple(a for a in contact.attributes if a.name != "creditlimit")
    apply(store, l.begin(), l.model(ClientModel((msgspec.structs.replace(contact, attributes=kept),))), l.end("c2"))
    states = {p.number: p.state for p in outbox.all_sets(store.connection)}
    assert states[second] is SetState.QUARANTINED
    assert stands_on(store, third) == (first_set.id, 1)
    assert names(store)[A] == "3"
