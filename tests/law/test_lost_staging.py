"""A staging database is lost, with the journal in it: made anew, and every edit reaches the source exactly once."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from satchel.device import Device, DeviceKey, SetState
from satchel.errors import SatchelError
from tests.law.edits.test_kill import executed
from tests.support.checker import differences
from tests.support.processes import Satchel, sandbox, satchel, wait_for

KEY = DeviceKey.from_passphrase("a passphrase")
pytestmark = [pytest.mark.kill, pytest.mark.timeout(300)]


def lose_staging(running: Satchel) -> str:
    """Drop the database behind everybody's back, as a broken disk does."""
    with psycopg.connect(running.database_url(), autocommit=True) as connection:
        rows = connection.execute("select datname from pg_database where datname like 'satchel\\_contoso%'").fetchall()
        (name,) = (row[0] for row in rows)
        connection.execute(f"drop database {name} with (force)".encode())
    return str(name)


def try_sync(device: Device) -> bool:
    try:
        device.sync()
    except SatchelError:
        return False
    return True


def test_what_devices_sent_before_and_did_after_reaches_the_source_once(tmp_path: Path) -> None:
    with sandbox(tmp_path, 1000) as source, satchel(tmp_path / "data") as running:
        running.add(source)
        user = source.users[0]["id"]
        with Device.enroll(running.invite(user), tmp_path / "device", key=KEY) as device:
            device.sync()
            contacts = [row["contactid"] for row in device.table("contact").limit(4).all()]
            made: dict[str, str] = {}

            def update(key: str, text: str) -> None:
                with device.edit() as changes:
                    changes.update("contact", key, jobtitle=text)
                made[device.pending()[-1].id] = text

            update(contacts[0], "executed, and nobody heard of it")
            try_sync(device)
            wait_for(lambda: any(s in executed(source) for s in made), "the first edit to be executed")
            source.faults(error_probability=1.0)
            update(contacts[1], "acknowledged, and lost with the journal")
            with device.edit() as changes:
                changes.create("contact", lastname="Made offline")
            made[device.pending()[-1].id] = "a new row"
            wait_for(lambda: try_sync(device) and not _waiting(device), "the server to have them")
            assert len(device.pending()) >= 2

            lost = lose_staging(running)
            update(contacts[1], "made after it was lost")
            update(contacts[2], "and another")
            source.faults(error_probability=0)
            running.run("org", "provision", "contoso", "--anew", "--wait")

            wait_for(lambda: try_sync(device) and not device.pending(), "all edits to come home", 90)
            wait_for(lambda: try_sync(device) and not differences(device, source, user), "the device to be right", 60)
        counts = {text: len(executed(source).get(set_id, [])) for set_id, text in made.items()}
        assert {text: count for text, count in counts.items() if count != 1} == {}
        with psycopg.connect(running.database_url("satchel")) as connection:
            wait_for(lambda: not _rows(connection, "select * from satchel.leftover_database"), "the old one to be gone")
            assert lost not in [row[0] for row in _rows(connection, "select rolname from pg_roles")]


def _waiting(device: Device) -> list[object]:
    return [each for each in device.pending() if each.state is SetState.WAITING]


def _rows(connection: psycopg.Connection[tuple[object, ...]], query: str) -> list[tuple[object, ...]]:
    found = connection.execute(query.encode()).fetchall()
    connection.rollback()
    return found
