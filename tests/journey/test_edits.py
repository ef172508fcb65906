"""Edits made on a device reach the source under the user's name, or come home with a reason."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from satchel.device import Choice, Device, DeviceKey, SetState
from satchel.device.sql import Row
from satchel.errors import EditInvalid
from tests.support.checker import differences
from tests.support.processes import Sandbox, Satchel, wait_for


@pytest.fixture
def device(tmp_path: Path, running: Satchel, source: Sandbox) -> Iterator[Device]:
    key_file = tmp_path / "key"
    key_file.write_text("a key")
    user = source.users[0]["id"]
    enrolled = Device.enroll(running.invite(user), tmp_path / "device", key=DeviceKey.from_file(key_file))
    enrolled.sync()
    yield enrolled
    enrolled.close()


def own_contact(device: Device, place: int = 0) -> str:
    user = device.enrolment.user_id
    rows = device.table("contact").where("ownerid", "=", user).order_by("contactid").limit(place + 1).all()
    return str(rows[place]["contactid"])


def shown(device: Device, entity: str, key: str) -> Row:
    """A new row, once it is there: where a page of the source came between judging and staging it, it is asked for once
    more, a moment after the verdict."""

    def there() -> Row | None:
        device.sync()
        return device.table(entity).get(key)

    found: Row = wait_for(there, f"{entity} {key} to be shown")
    return found


def test_rows_are_changed_together_and_under_the_users_name(device: Device, source: Sandbox) -> None:
    with device.edit() as changes:
        account = changes.create("account", name="Offline Inc")
        contact = changes.create("contact", lastname="Kim", parentcustomerid=("account", account), creditlimit="12.50")
    assert device.table("contact").get(contact) is not None  # at once, without a network
    report = device.sync()
    assert report.edits_settled == {"accepted": 1}
    assert not device.pending()
    row = source.send("GET", f"contacts({contact})").json()
    assert row["_parentcustomerid_value"] == account
    assert row["creditlimit"] == 12.5
    assert row["_createdby_value"] == device.enrolment.user_id
    device.update("contact", contact, jobtitle="Chief", parentcustomerid=None)
    device.sync()
    device.delete("contact", contact)
    assert device.sync().edits_settled == {"accepted": 1}
    wait_for(lambda: device.sync() and not differences(device, source, device.enrolment.user_id), "them to agree")


@pytest.mark.parametrize("rows_in_a_set", [1, 2])
def test_unusual_values_arrive_as_they_were_typed(device: Device, source: Sandbox, rows_in_a_set: int) -> None:
    text = "\r\n--changeset_1--\r\n\r\n\u0001 \U0001f9f0 \u202eZu\u0308rich \u4e2d 'quoted' \"twice\" \\ {0} %41 </a>\t"
    long = (text + "x" * 100) * 9
    with device.edit() as changes:
        keys = [changes.create("task", subject=text, description=long) for _ in range(rows_in_a_set)]
    assert device.sync().edits_settled == {"accepted": 1}
    for key in keys:
        there = source.send("GET", f"tasks({key})").json()
        here = shown(device, "task", key)
        assert (there["subject"], there["description"]) == (text, long)
        assert (here["subject"], here["description"]) == (text, long)
    contact = own_contact(device, 3 + rows_in_a_set)
    device.update("contact", contact, creditlimit="1000000000.01", birthdate="1900-02-28", donotemail=True)
    device.update("contact", contact, jobtitle="")
    assert device.sync().edits_settled == {"accepted": 2}
    row = source.send("GET", f"contacts({contact})").json()
    assert (row["creditlimit"], row["birthdate"], row["donotemail"]) == (1000000000.01, "1900-02-28", True)
    assert not row["jobtitle"]
    with device.edit() as changes:
        changes.delete("task", keys[0])
        changes.update("contact", contact, creditlimit=None, birthdate=None, donotemail=False)
    assert device.sync().edits_settled == {"accepted": 1}
    wait_for(lambda: device.sync() and not differences(device, source, device.enrolment.user_id), "them to agree")


def test_what_others_changed_elsewhere_is_merged(device: Device, source: Sandbox) -> None:
    key = own_contact(device)
    device.update("contact", key, jobtitle="mine")
    source.send("PATCH", f"contacts({key})", json={"telephone1": "555"})
    assert device.sync().edits_settled == {"merged": 1}
    row = device.table("contact").get(key)
    assert row is not None
    assert (row["jobtitle"], row["telephone1"]) == ("mine", "555")


def test_a_conflict_comes_home_and_is_resolved(device: Device, source: Sandbox) -> None:
    key = own_contact(device, 1)
    device.update("contact", key, jobtitle="mine")
    source.send("PATCH", f"contacts({key})", json={"jobtitle": "theirs"})
    device.sync()
    pending = device.pending()[0]
    assert pending.state is SetState.CONFLICT
    assert pending.outcome is not None
    assert pending.outcome.edits[0].overlap == ("jobtitle",)
    row = device.table("contact").get(key)
    assert row is not None
    assert row["jobtitle"] == "theirs"
    with pytest.raises(EditInvalid):
        device.resolve(pending.number, {})
    device.resolve(pending.number, {"jobtitle": Choice(side="mine")})
    assert device.sync().edits_settled == {"accepted": 1}
    assert source.send("GET", f"contacts({key})").json()["jobtitle"] == "mine"


def test_values_are_checked_at_once(device: Device) -> None:
    key = own_contact(device)
    for values in ({"jobtitle": "x" * 1000}, {"creditlimit": "ten"}, {"birthdate": "soon"}, {"nothing": 1}):
        with pytest.raises(EditInvalid):
            device.update("contact", key, values)
    with pytest.raises(EditInvalid):
        device.create("contact", jobtitle="no name")
    assert not device.pending()


def test_a_revoked_row_goes_and_the_edit_stays(device: Device, source: Sandbox) -> None:
    key = own_contact(device, 2)
    user = device.enrolment.user_id
    seen = source.visible(user, "contact", "own") | source.visible(user, "contact", "team")
    other = next(u["id"] for u in source.users[1:] if u["id"] != user)
    assert key in seen
    source.send("PATCH", f"contacts({key})", json={"ownerid@odata.bind": f"/systemusers({other})"})

    def is_gone() -> bool:
        device.sync()
        return device.table("contact").get(key) is None

    device.update("account", str(device.table("account").all()[0]["accountid"]), telephone1="pending elsewhere")
    wait_for(is_gone, "the row to leave")


def test_an_edit_is_seen_on_another_device(device: Device, running: Satchel, source: Sandbox, tmp_path: Path) -> None:
    with Device.enroll(running.invite(device.enrolment.user_id), tmp_path / "other", is_encrypted=False) as other:
        other.sync()
        key = own_contact(device)
        device.update("contact", key, jobtitle="seen elsewhere")
        began = time.monotonic()
        device.sync()

        def is_seen() -> bool:
            other.sync(wait_seconds=1)
            row = other.table("contact").get(key)
            return row is not None and row["jobtitle"] == "seen elsewhere"

        wait_for(is_seen, "the other device to see it")
        print(f"seen after {time.monotonic() - began:.3f} s")


def test_the_command_line(device: Device, tmp_path: Path) -> None:
    key = own_contact(device)
    where = ["--folder", str(tmp_path / "device"), "--key-file", str(tmp_path / "key")]

    def run(*words: str, status: int = 0) -> str:
        command = [sys.executable, "-m", "satchel", "device", *words, *where]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    run("edit", "update", "contact", key, "jobtitle=Typed")
    number = json.loads(run("pending", "--json"))[0]["number"]
    run("export", str(tmp_path / "edits.json"))
    assert json.loads((tmp_path / "edits.json").read_text())[0]["edits"][0]["values"] == {"jobtitle": "Typed"}
    run("discard", str(number))
    assert "Nothing" in run("pending")
    assert "creditlimit" in run("edit", "update", "contact", key, "creditlimit=ten", status=2)
    run("retry", "999", status=2)
    assert "Nothing" in run("conflicts")
