"""A backup made while all runs is restored onto fresh servers: devices go on, and no edit is executed twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from satchel.device import Device, DeviceKey, SetState
from satchel.errors import SatchelError
from tests.law.edits.test_kill import executed
from tests.support.checker import differences
from tests.support.processes import Satchel, sandbox, satchel, wait_for

KEY = DeviceKey.from_passphrase("a passphrase")
pytestmark = [
    pytest.mark.skipif("SATCHEL_TEST_PLACES" not in os.environ, reason="minutes long: SATCHEL_TEST_PLACES=1"),
    pytest.mark.kill,
    pytest.mark.timeout(400),
]


def try_sync(device: Device) -> bool:
    try:
        device.sync()
    except SatchelError:
        return False
    return True


def update(device: Device, key: str, text: str, made: dict[str, str]) -> None:
    with device.edit() as changes:
        changes.update("contact", key, jobtitle=text)
    made[device.pending()[-1].id] = text


def test_a_backup_brings_everything_back_and_executes_nothing_twice(tmp_path: Path) -> None:
    place, made = tmp_path / "backup", dict[str, str]()
    with sandbox(tmp_path, 1000) as source:
        user = source.users[0]["id"]
        with satchel(tmp_path / "old" / "data", is_separate=True) as old:
            old.add(source)
            device = Device.enroll(old.invite(user), tmp_path / "device", key=KEY)
            device.sync()
            contacts = [row["contactid"] for row in device.table("contact").limit(4).all()]
            source.faults(error_probability=1.0)
            update(device, contacts[0], "in the backup's journal, executed later", made)
            wait_for(lambda: try_sync(device) and device.pending()[0].state is SetState.SENT, "the journal to have it")

            old.run("backup", "create", str(place))

            assert "Whole: 1 organizations" in old.run("backup", "verify", str(place))
            assert "already" in old.run("backup", "create", str(place), status=2)
            assert "there already" in old.run("backup", "restore", str(place), status=2)  # nothing is overwritten
            source.faults(error_probability=0)
            wait_for(lambda: try_sync(device) and not device.pending(), "it to be executed")
            with device.edit() as changes:
                row = changes.create("contact", lastname="Made after the backup")
            made[device.pending()[-1].id] = "a row that the backup does not know"
            wait_for(lambda: try_sync(device) and not device.pending(), "the row to be made")
        update(device, row, "made while all was gone", made)
        update(device, contacts[1], "another", made)

        new = Satchel(tmp_path / "new" / "data", {"SATCHEL_SYNC__PORT": str(old.sync_port)}, is_separate=True)
        new.sync_port = old.sync_port
        assert new.separate is not None
        with new.separate.postgres:
            new.separate.is_first = False
            new.environment |= new.separate.environment
            assert "another master key" in new.run("backup", "restore", str(place), status=2)
            for kept in ("secrets", "tls"):  # what a backup does not hold
                shutil.rmtree(new.folder / kept, ignore_errors=True)
                shutil.copytree(old.folder / kept, new.folder / kept)
            damage(place)
            assert "not what was written" in new.run("backup", "restore", str(place), status=1)
            damage(place)  # the same bit once more: whole again
            new.run("backup", "restore", str(place))
            new.start()
            try:
                wait_for(lambda: try_sync(device) and not device.pending(), "the device to go on", 120)
                wait_for(
                    lambda: try_sync(device) and not differences(device, source, user), "the device to be right", 60
                )
            finally:
                new.stop()
        device.close()
        counts = {text: len(executed(source).get(set_id, [])) for set_id, text in made.items()}
        assert {text: count for text, count in counts.items() if count != 1} == {}


def damage(place: Path) -> None:
    """Turn one bit in the middle of the largest file."""
    file = max(place.rglob("*.zst"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
