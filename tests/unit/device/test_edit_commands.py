"""`satchel device edit` and `conflicts`: what they say is what is pending, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from satchel.cli.device import command
from satchel.device import Clock, Device, SetState
from satchel.device.edits import outbox
from satchel.errors import EditInvalid
from tests.unit.device import lines as l
from tests.unit.device.network import KEY, FakeNetwork
from tests.unit.device.test_edits import MODEL, A, B


@pytest.fixture
def edited(network: FakeNetwork, device: Device) -> Device:
    network.answers += [([l.begin(), l.model(MODEL), l.put(l.contact(A), l.contact(B)), l.end("c1")], False)]
    device.sync()
    return device


def run(device: Device, tmp_path: Path, *words: str, status: int = 0) -> str:
    key = tmp_path / "key"
    key.write_text("correct horse battery staple")
    where = ["--folder", str(tmp_path / "device"), "--passphrase-file", str(key)]
    done = CliRunner().invoke(command, [*words, *where], catch_exceptions=False)
    assert done.exit_code == status, done.output
    return done.output


def test_an_edit_that_changes_nothing_does_not_name_another_one(edited: Device, tmp_path: Path) -> None:
    def edit(name: str) -> Any:
        return json.loads(run(edited, tmp_path, "edit", "update", "contact", A, f"fullname={name}", "--json"))

    assert edit("typed") == {"key": A, "pending": 1}
    assert edit("typed") == {"key": A, "pending": None}
    assert "nothing is to be sent" in run(edited, tmp_path, "edit", "update", "contact", A, "fullname=typed")


def test_what_is_quarantined_is_shown_with_its_row_and_values(edited: Device, tmp_path: Path) -> None:
    edited.update("contact", A, fullname="typed")
    with edited._writer.transaction() as connection:
        outbox.move(connection, 1, SetState.QUARANTINED, note="It left.")
    shown = run(edited, tmp_path, "conflicts")
    for word in ("It left.", A, "fullname", "typed", "Ann"):
        assert word in shown


def test_a_delete_in_conflict_shows_what_others_changed(edited: Device, tmp_path: Path) -> None:
    edited.delete("contact", A)
    (pending,) = edited.pending()
    outcome = {
        "set": pending.id, "version": 1, "verdict": "conflict",
        "edits": [{"id": pending.edits[0].id, "verdict": "conflict", "overlap": ["fullname"],
                   "theirs": {"fullname": "Their name"}}],
    }  # fmt: skip
    with edited._writer.transaction() as connection:
        connection.execute(
            "update _satchel_set set state = 'conflict', outcome = ?", [msgspec.json.encode(outcome).decode()]
        )
    shown = run(edited, tmp_path, "conflicts")
    for word in ("delete", "fullname", "Ann", "(deleted)", "Their name"):
        assert word in shown


def test_a_block_of_edits_is_not_cut_in_two_by_another_one(edited: Device) -> None:
    def two_blocks() -> None:
        with edited.edit() as changes:
            changes.update("contact", A, fullname="first")
            edited.update("contact", B, fullname="second")

    with pytest.raises(EditInvalid):
        two_blocks()
    assert [row["fullname"] for row in edited.table("contact").all()] == ["Ann", "Ann"]
    assert edited.pending() == []


def test_pending_edits_show_no_more_of_rows_than_was_entered_when_the_lease_has_ended(
    network: FakeNetwork, tmp_path: Path
) -> None:
    now = [1_800_000_000.0]
    clock = Clock(now=lambda: now[0], ticks=lambda: now[0])
    lease = {"seconds": 3600, "action": "lock"}
    rows = l.put(l.contact(A, "Ann", "77.77"))
    network.answers += [([l.begin(lease=lease), l.model(MODEL), rows, l.end("c1")], False)]
    with Device.enroll(network.link(), tmp_path / "device", key=KEY, clock=clock) as device:
        device.sync()
        device.update("contact", A, fullname="typed")
        assert "77.77" in str(device.pending())
        now[0] += 7200
        assert "77.77" not in str(device.pending())
        assert [(e.values, e.base) for s in device.pending() for e in s.edits] == [
            ({"fullname": "typed"}, {"fullname": "Ann"})
        ]
