"""Edits on their way to the server: power that fails, undoing meanwhile, another version that was faster."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from satchel.device.edits import outbox, verdicts
from satchel.device.edits.editing import Changes
from satchel.device.edits.outbox import PendingSet, SetState
from satchel.device.edits.overlay import Overlay
from satchel.device.edits.upload import upload
from satchel.device.edits.wire import stored_row
from satchel.device.store import Store
from satchel.model.client_model import ClientAttribute, ClientEntity, ClientModel
from satchel.model.edits import Receipt, Verdict
from satchel.model.metadata import AttributeType as T
from satchel.protocol.messages import EditsAnswer, EditsRequest
from tests.unit.device import lines as l
from tests.unit.device.test_edits import MODEL, A, apply, taken, update


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "device.sqlite", None)
    apply(opened, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c1"))
    yield opened
    opened.close()


class _NotingFile(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], unsynced: set[str]) -> None:
        super().__init__("unix", name, flags)
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._unsynced = unsynced

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._unsynced.add(self._name)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        super().xSync(flags)
        self._unsynced.discard(self._name)


class _NotingDisk(apsw.VFS):
    """Files as they are; knows which have writes that a power cut takes away."""

    def __init__(self) -> None:
        self.unsynced: set[str] = set()
        super().__init__("noting", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _NotingFile(name, flags, self.unsynced)


def test_an_edit_that_was_made_survives_a_power_cut(tmp_path: Path) -> None:
    disk = _NotingDisk()
    try:
        store = Store(tmp_path / "device.sqlite", None)
        apply(store, l.begin(), l.model(MODEL), l.put(l.contact(A)), l.end("c1"))
        apply(store, l.begin(), l.put(l.contact(A, "newer")), l.end("c2"))
        assert disk.unsynced, "the download comes again: it need not wait for the disk"
        update(store, A, fullname="typed")
        assert not disk.unsynced
        upload(store, taken)
        assert not disk.unsynced, "what the server was offered is not known for sure"
        store.close()
    finally:
        disk.unregister()


def test_what_is_discarded_while_it_is_handed_over_is_withdrawn(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process has read what waits, and has not sent it yet; in another one the user lets go of it."""
    number = update(store, A, fullname="typed")
    server: dict[str, int] = {}
    read = outbox.waiting
    others: list[threading.Thread] = []

    def let_go() -> None:
        other = Store(tmp_path / "device.sqlite", None)
        with other.transaction() as c:
            overlay = Overlay(c, other.model)
            verdicts.discard(c, overlay, number)
            overlay.finish(is_complete=False)
        other.close()

    def waiting(*args: Any, **more: Any) -> list[PendingSet]:
        found = read(*args, **more)
        if not others:
            others.append(threading.Thread(target=let_go))
            others[0].start()
            others[0].join(0.5)
        return found

    def post(request: EditsRequest) -> EditsAnswer:
        for each in map(msgspec.json.decode, request.sets):
            server[each["id"]] = len(each["edits"])
        return EditsAnswer([Receipt(e["id"], e.get("version", 1)) for e in map(msgspec.json.decode, request.sets)])

    monkeypatch.setattr(outbox, "waiting", waiting)
    upload(store, post)
    others[0].join()
    upload(store, post)
    assert set(server.values()) <= {0}, "the user let go of it, and the server executes it"


def test_a_corrected_edit_is_not_dropped_where_its_first_version_was_executed(store: Store) -> None:
    """It was refused; the user corrects it offline, while an administrator has it tried again as it was."""
    number = update(store, A, fullname="first")
    upload(store, taken)
    with store.transaction() as c:
        outbox.move(c, number, SetState.REJECTED)
        overlay = Overlay(c, store.model)
        choice = {"fullname": verdicts.Choice(value="corrected")}
        verdicts.resolve(c, overlay, store.model, number, choice)
        overlay.finish(is_complete=False)

    def too_late(request: EditsRequest) -> EditsAnswer:
        ids = [msgspec.json.decode(raw)["id"] for raw in request.sets]
        return EditsAnswer([Receipt(each, 1, verdict=Verdict.ACCEPTED, is_other=True) for each in ids])

    upload(store, too_late)
    apply(store, l.begin(), l.put(l.contact(A, "first")), l.end("c2"))
    left = [edit.values for pending in outbox.all_sets(store.connection) for edit in pending.edits]
    assert left == [{"fullname": "corrected"}]


def test_a_version_that_came_after_the_set_was_superseded_is_seen(store: Store) -> None:
    number = update(store, A, fullname="typed")
    upload(store, lambda r: EditsAnswer([Receipt(msgspec.json.decode(r.sets[0])["id"], 1, verdict=Verdict.SUPERSEDED)]))
    pending = outbox.find(store.connection, number)
    assert pending is not None
    assert pending.state is SetState.SUPERSEDED


def made(store: Store, change: Any) -> Sequence[tuple[str, str]]:
    with store.transaction() as c:
        changes = Changes(c, store.model)
        change(changes)
        pending = outbox.find(c, changes.keep() or 0)
    assert pending
    return [(edit.action.value, edit.key[0]) for edit in pending.edits]


def test_a_row_that_is_referred_to_is_made_first(tmp_path: Path) -> None:
    """The source takes a set in order: what refers to a new row comes behind it, however it was typed."""
    ref = ClientAttribute(name="ref", type=T.GUID, targets=("task",), is_creatable=True, is_updatable=True)
    text = ClientAttribute(name="text", type=T.STRING, is_creatable=True, is_updatable=True)
    task = ClientEntity(name="task", key=("id",), attributes=(ClientAttribute(name="id", type=T.GUID), text, ref))
    store = Store(tmp_path / "tasks.sqlite", None)
    rows = {"put": "task", "columns": ["id", "text", "ref"], "rows": [[A, "x", None]]}
    apply(store, l.begin(), l.model(ClientModel((task,))), rows, l.end("c1"))
    new: list[str] = []

    def change(changes: Changes) -> None:
        changes.update("task", A, text="y")
        new.append(changes.create("task", text="one"))
        new.append(changes.create("task", text="two"))
        changes.update("task", new[0], ref=new[1])
        changes.update("task", A, ref=new[0])

    assert made(store, change) == [("create", new[1]), ("create", new[0]), ("update", A)]
    store.close()


_WIDE = ((1.5, 28, "1.5"), (1e20, 10, "1E+20"), (12345678901, 18, "12345678901"))


@pytest.mark.parametrize(("value", "scale", "text"), _WIDE)
def test_a_decimal_of_many_digits_can_stand_in_an_edited_row(value: float, scale: int, text: str) -> None:
    entity = ClientEntity(name="x", key=("d",), attributes=(ClientAttribute(name="d", type=T.DECIMAL, scale=scale),))
    assert Decimal(stored_row(entity, [value])["d"]) == Decimal(text)
