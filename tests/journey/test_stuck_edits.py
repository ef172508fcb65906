"""Edits that are stuck, as the user and the administrator see them on their command lines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from satchel.device import Device, DeviceKey, SetState
from tests.support.processes import Sandbox, Satchel, wait_for

Run = Callable[..., str]
SECRET = "a key"


@pytest.fixture
def device(tmp_path: Path, running: Satchel, source: Sandbox) -> Iterator[Device]:
    (tmp_path / "key").write_text(SECRET)
    key = DeviceKey.from_file(tmp_path / "key")
    enrolled = Device.enroll(running.invite(source.users[1]["id"]), tmp_path / "device", key=key)
    enrolled.sync()
    yield enrolled
    enrolled.close()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`satchel device`; returns what it printed."""

    def run(*words: str, status: int = 0) -> str:
        where = ["--folder", str(tmp_path / "device"), "--key-file", str(tmp_path / "key")]
        command = [sys.executable, "-m", "satchel", "device", *words, *where]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def own_contact(device: Device, place: int) -> str:
    rows = device.table("contact").where("ownerid", "=", device.enrolment.user_id).order_by("contactid")
    return str(rows.limit(place + 1).all()[place]["contactid"])


def conflict(device: Device, source: Sandbox, place: int) -> tuple[str, int]:
    """A conflict about a contact's job title; its key, and the pending set's number."""
    key = own_contact(device, place)
    device.update("contact", key, jobtitle=f"mine {place}")
    source.send("PATCH", f"contacts({key})", json={"jobtitle": f"theirs {place}"})
    device.sync()
    (pending,) = device.pending()
    assert pending.state is SetState.CONFLICT
    return key, pending.number


def stuck(running: Satchel, device: Device) -> list[dict[str, Any]]:
    """What an administrator sees of this device."""
    found: list[dict[str, Any]] = running.json(
        "edits", "list", "contoso", "--show", "stuck", "--device", device.enrolment.device_id
    )
    return found


def job_title(source: Sandbox, key: str) -> str | None:
    title: str | None = source.send("GET", f"contacts({key})").json()["jobtitle"]
    return title


def test_a_user_sees_a_conflict_and_says_what_counts(device: Device, source: Sandbox, run: Run, tmp_path: Path) -> None:
    key, number = conflict(device, source, 0)
    shown = run("conflicts")
    for word in (key, "jobtitle", "mine 0", "theirs 0"):
        assert word in shown
    (told,) = json.loads(run("conflicts", "--json"))
    assert told["number"] == number
    run("export", str(tmp_path / "edits.json"))
    (exported,) = json.loads((tmp_path / "edits.json").read_text())
    assert exported["outcome"]["edits"][0]["theirs"]["jobtitle"] == "theirs 0"
    assert "jobtitle=mine" in run("resolve", str(number), status=2)  # it says what to type
    run("resolve", str(number), "jobtitle=theirs", "nothing=mine", status=2)
    run("resolve", str(number), "jobtitle=:both of us")
    run("sync")
    assert job_title(source, key) == "both of us"
    assert "Nothing" in run("pending")


def test_a_user_lets_go_of_a_conflict(device: Device, source: Sandbox, run: Run) -> None:
    key, number = conflict(device, source, 1)
    run("discard", str(number))
    run("sync")
    assert "Nothing" in run("conflicts")
    assert job_title(source, key) == "theirs 1"


def test_a_user_sends_what_was_refused_once_more(device: Device, source: Sandbox, run: Run) -> None:
    key, number = conflict(device, source, 2)
    source.send("PATCH", f"contacts({key})", json={"jobtitle": None})  # they took it back
    run("retry", str(number))
    run("sync")
    assert "on its way" not in run("pending")
    assert job_title(source, key) in {"mine 2", None}


def test_an_administrator_sees_what_is_stuck_and_closes_it(
    device: Device, source: Sandbox, running: Satchel, run: Run
) -> None:
    key, _ = conflict(device, source, 3)
    overview = " ".join(running.run("org", "show", "contoso").split())
    for words in ("conflict", "in the user's name", "has row versions", "$batch"):
        assert words in overview
    shown = running.run("edits", "list", "contoso", "--show", "stuck", "--entity", "contact")
    for word in ("conflict", "update", "mine 3"):
        assert word in shown
    (listed,) = stuck(running, device)
    assert listed["user"] == device.enrolment.user_id
    assert listed["edits"][0]["key"] == [key]
    number = str(listed["number"])
    whole = running.run("edits", "show", "contoso", number)
    for word in (key, "jobtitle", "mine 3", "theirs 3"):
        assert word in whole
    assert running.json("edits", "retry", "contoso", number)["done"] == [int(number)]

    def is_held() -> bool:
        return bool(stuck(running, device))

    wait_for(is_held, "the same conflict again")
    assert running.json("edits", "close", "contoso", number, "--yes", "--reason", "by phone")["done"] == [int(number)]
    device.sync()
    (pending,) = device.pending()
    assert pending.state is SetState.REJECTED
    assert "by phone" in run("conflicts")
    assert running.json("edits", "close", "contoso", number, "--yes")["settled"] == [int(number)]
    assert stuck(running, device) == []
    device.discard(pending.number)
    device.sync()
    assert not device.pending()


def test_an_administrator_has_what_waits_for_the_source_tried_at_once(
    device: Device, source: Sandbox, running: Satchel
) -> None:
    key = own_contact(device, 4)
    source.faults(error_probability=1.0)
    try:
        device.update("contact", key, jobtitle="tried again")
        device.sync()
        (listed,) = wait_for(lambda: stuck(running, device), "a try that failed")
        assert listed["problem"]
    finally:
        source.faults(error_probability=0.0)
    running.run("edits", "retry", "contoso", "--all", "--user", device.enrolment.user_id)

    def is_settled() -> bool:
        device.sync()
        return not device.pending()

    wait_for(is_settled, "the edit to be accepted")
    assert job_title(source, key) == "tried again"


def test_what_is_not_there_is_said_to_be_so(running: Satchel, source: Sandbox) -> None:
    assert "has no edit set 999999" in running.run("edits", "show", "contoso", "999999", status=2)
    assert "has no edit set 999999" in running.run("edits", "retry", "contoso", "999999", status=2)
    assert "has no edit set 999999" in running.run("edits", "close", "contoso", "999999", "--yes", status=2)
    assert "nowhere" in running.run("edits", "list", "nowhere", status=2)
    assert "--all" in running.run("edits", "retry", "contoso", status=2)
    assert "--all" in running.run("edits", "close", "contoso", "1", "--all", "--yes", status=2)
