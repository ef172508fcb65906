"""What a user decides about a conflict, attribute by attribute: also where two attributes are one thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from satchel.device.apply import Applier
from satchel.device.edits import outbox, verdicts
from satchel.device.edits.editing import Changes
from satchel.device.edits.outbox import PendingSet
from satchel.device.edits.overlay import Overlay
from satchel.device.edits.upload import upload
from satchel.device.edits.verdicts import Choice
from satchel.device.store import Store
from satchel.errors import EditInvalid
from satchel.model.client_model import ClientAttribute, ClientEntity, ClientModel
from satchel.model.edits import Receipt
from satchel.model.metadata import AttributeType as T
from satchel.protocol.messages import EditsAnswer
from tests.unit.device import lines as l

A, X, Y, Z = (f"00000000-0000-4000-8000-00000000000{each}" for each in "abcd")
COLUMNS = ["id", "subject", "count", "regarding", "regardingtype"]
TASK = ClientEntity(
    name="task",
    key=("id",),
    attributes=(
        ClientAttribute(name="id", type=T.GUID),
        ClientAttribute(name="subject", type=T.STRING, is_creatable=True, is_updatable=True),
        ClientAttribute(name="count", type=T.INTEGER, is_creatable=True, is_updatable=True),
        ClientAttribute(
            name="regarding", type=T.GUID, targets=("account", "contact"), type_attribute="regardingtype",
            is_creatable=True, is_updatable=True,
        ),
        ClientAttribute(name="regardingtype", type=T.STRING),
    ),
)  # fmt: skip
OTHERS = tuple(ClientEntity(name=n, key=("id",), attributes=TASK.attributes[:1]) for n in ("account", "contact"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "device.sqlite", None)
    tell(opened, l.model(ClientModel((TASK, *OTHERS))), row("first", 1, X, "account"))
    yield opened
    opened.close()


def row(*values: Any) -> dict[str, Any]:
    return {"put": "task", "columns": COLUMNS, "rows": [[A, *values]]}


def tell(store: Store, *lines: dict[str, Any]) -> None:
    with Applier(store) as applier:
        for line in l.decoded([l.begin(), *lines, l.end("c", 1)]):
            applier.take(line)


def conflict(store: Store, theirs: Mapping[str, Any], overlap: list[str], **mine: Any) -> PendingSet:
    """An edit of the task that met others' change."""
    with store.transaction() as connection:
        changes = Changes(connection, store.model)
        changes.update("task", A, mine)
        number = changes.keep()
    assert number is not None
    upload(store, lambda asked: EditsAnswer([Receipt(msgspec.json.decode(raw)["id"], 1) for raw in asked.sets]))
    (pending,) = outbox.all_sets(store.connection)
    now = {"id": A, "subject": "first", "count": 1, "regarding": X, "regardingtype": "account", **theirs}
    told = {"id": pending.edits[0].id, "verdict": "conflict", "overlap": overlap, "theirs": now}
    tell(
        store,
        row(*[now[name] for name in COLUMNS[1:]]),
        {"outcome": {"set": pending.id, "version": 1, "verdict": "conflict", "edits": [told]}},
    )
    return pending


def resolve(store: Store, number: int, **choices: Choice) -> dict[str, Any] | None:
    """What the set sets then; None: nothing is left of it."""
    with store.transaction() as connection:
        overlay = Overlay(connection, store.model)
        verdicts.resolve(connection, overlay, store.model, number, choices)
        overlay.finish(is_complete=False)
    pending = outbox.find(store.connection, number)
    return dict(pending.edits[0].values) if pending is not None and pending.edits else None


THEIRS, MINE = Choice(side="theirs"), Choice(side="mine")


def test_a_lookup_and_what_names_its_target_are_decided_as_one(store: Store) -> None:
    pending = conflict(store, {"regarding": Z}, ["regarding"], regarding=("account", Y), subject="mine")
    assert resolve(store, pending.number, regarding=THEIRS) == {"subject": "mine"}


def test_of_two_targets_one_choice_is_enough(store: Store) -> None:
    theirs = {"regarding": Z, "regardingtype": "contact"}
    pending = conflict(store, theirs, ["regarding", "regardingtype"], regarding=("account", Y))
    with pytest.raises(EditInvalid, match="regarding"):
        resolve(store, pending.number)
    assert resolve(store, pending.number, regarding=MINE) == {"regarding": Y, "regardingtype": "account"}


def test_nothing_is_left_where_theirs_counts_for_all(store: Store) -> None:
    pending = conflict(store, {"regarding": Z}, ["regarding"], regarding=("account", Y))
    assert resolve(store, pending.number, regarding=THEIRS) is None


def test_another_value_of_a_lookup_names_its_target(store: Store) -> None:
    pending = conflict(store, {"regarding": Z}, ["regarding"], regarding=("account", Y))
    assert resolve(store, pending.number, regarding=Choice(value=("contact", Z))) == {
        "regarding": Z,
        "regardingtype": "contact",
    }


def test_another_value_is_checked_as_any_other(store: Store) -> None:
    pending = conflict(store, {"count": 5}, ["count"], count=2)
    for wrong in ("many", 2**40, 1.5):
        with pytest.raises(EditInvalid, match="count"):
            resolve(store, pending.number, count=Choice(value=wrong))
    assert resolve(store, pending.number, count=Choice(value=7)) == {"count": 7}
    assert store.connection.execute("select count from task").fetchall() == [(7,)]
