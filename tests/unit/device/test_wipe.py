"""A wipe erases all that a device holds, also where it is killed in the middle or another process reads."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend

from satchel.device import Device
from satchel.errors import DataFolderUnusable, DeviceWiped, TokenInvalid
from tests.unit.device import lines as l
from tests.unit.device.network import KEY, FakeNetwork, Refusal, first_sync

WIPE = Refusal("E504")
LEFT = {"device.wiped", "device.lock"}
SYNC_UNTIL_KILLED = """
import os, signal, sys
from pathlib import Path
from satchel.device import Device
from satchel.errors import DeviceWiped

device, left, has_begun = Device.open(Path(sys.argv[1])), int(sys.argv[2]), False

def hook(event, arguments):
    global left, has_begun
    if event in {"open", "os.remove", "os.rename", "os.scandir"} and sys.argv[1] in str(arguments[0]):
        has_begun = has_begun or "device.wiped" in str(arguments[0])
        left -= has_begun
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
try:
    device.sync()
except DeviceWiped:
    sys.exit(0)
"""


class MemoryKeyring(KeyringBackend):
    """A keyring of the operating system, which can be locked."""

    priority = -1  # type: ignore[assignment]  # never chosen by itself

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[tuple[str, str], str] = {}
        self.is_locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.is_locked:
            raise RuntimeError("locked")
        return self.keys.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.keys[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.keys[service, username]


@pytest.fixture
def memory_keyring() -> Iterator[MemoryKeyring]:
    before, used = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(used)
    yield used
    keyring.set_keyring(before)


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_wipe_leaves_nothing_and_says_so(network: FakeNetwork, device: Device, tmp_path: Path) -> None:
    first_sync(network, device, l.contact("a"))
    network.answers.append(WIPE)

    with pytest.raises(DeviceWiped) as caught:
        device.sync()

    assert "enroll anew" in caught.value.hint
    assert names(tmp_path / "device") == LEFT
    assert network.confirmed == 1
    for use in (device.sync, device.status, lambda: device.model, lambda: device.sql("select 1")):
        with pytest.raises(DeviceWiped):
            use()
    with pytest.raises(DeviceWiped):
        Device.open(tmp_path / "device", key=KEY)


def test_another_process_that_has_it_open_reads_nothing_more(network: FakeNetwork, tmp_path: Path) -> None:
    folder = tmp_path / "clear"
    with Device.enroll(network.link(), folder, is_encrypted=False) as device, Device.open(folder) as other:
        first_sync(network, device, l.contact("a", "Anna Karenina"))
        table = other.table("contact")
        assert table.count() == 1
        with (folder / "device.sqlite").open("rb") as database, (folder / "device.sqlite-wal").open("rb") as log:
            assert b"Anna Karenina" in database.read() + log.read()
            network.answers.append(WIPE)
            with pytest.raises(DeviceWiped):
                device.sync()
            database.seek(0)
            log.seek(0)
            assert database.read() + log.read() == b""
        for read in (table.all, lambda: other.sql("select * from contact"), other.sync):
            with pytest.raises(DeviceWiped):
                read()
    assert names(folder) == LEFT


def test_the_folder_takes_another_enrolment(network: FakeNetwork, device: Device, tmp_path: Path) -> None:
    network.answers.append(WIPE)
    with pytest.raises(DeviceWiped):
        device.sync()

    with Device.enroll(network.link(), tmp_path / "device", key=KEY) as again:
        first_sync(network, again, l.contact("b"))
        assert again.table("contact").count() == 1
    with Device.open(tmp_path / "device", key=KEY) as opened:
        assert opened.table("contact").count() == 1


def test_a_block_erases_nothing(network: FakeNetwork, device: Device) -> None:
    first_sync(network, device, l.contact("a"))
    network.answers.append(Refusal("E501"))

    with pytest.raises(TokenInvalid):
        device.sync()

    assert device.table("contact").count() == 1
    assert network.confirmed == 0


def test_the_key_in_a_keyring_goes_as_soon_as_it_opens(
    network: FakeNetwork, tmp_path: Path, memory_keyring: MemoryKeyring
) -> None:
    folder = tmp_path / "device"
    with Device.enroll(network.link(), folder) as device:
        assert len(memory_keyring.keys) == 1
        memory_keyring.is_locked = True
        network.answers.append(WIPE)
        with pytest.raises(DeviceWiped):
            device.sync()
    assert names(folder) == LEFT | {"device.json"}

    memory_keyring.is_locked = False
    with pytest.raises(DeviceWiped):
        Device.open(folder)

    assert memory_keyring.keys == {}
    assert names(folder) == LEFT


def test_what_cannot_be_erased_is_told_and_tried_again(network: FakeNetwork, device: Device, tmp_path: Path) -> None:
    obstacle = tmp_path / "device" / "device.sqlite-other"
    obstacle.mkdir()
    network.answers.append(WIPE)
    with pytest.raises(DataFolderUnusable, match="cannot be erased"):
        device.sync()
    assert network.confirmed == 0

    obstacle.rmdir()
    with pytest.raises(DeviceWiped):
        Device.open(tmp_path / "device", key=KEY)
    assert names(tmp_path / "device") == LEFT


@pytest.mark.kill
def test_killed_at_any_step_the_next_open_goes_on(network: FakeNetwork, tmp_path: Path) -> None:
    """kill -9 of a real process before each file it opens, renames or removes, from the mark to the end."""
    with pytest.warns(UserWarning, match="no keyring"), Device.enroll(network.link(), tmp_path / "whole") as device:
        first_sync(network, device, *(l.contact(f"{number}") for number in range(2000)))
    killed, marked = 0, 0
    while True:
        folder = tmp_path / f"killed{killed}"
        shutil.copytree(tmp_path / "whole", folder)
        network.answers.append(WIPE)
        done = subprocess.run(
            [sys.executable, "-c", SYNC_UNTIL_KILLED, str(folder), str(killed)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
        if (folder / "device.wiped").exists():
            marked += 1
            with pytest.raises(DeviceWiped):
                Device.open(folder)
        else:  # not begun yet: the server says it again
            network.answers.append(WIPE)
            with Device.open(folder) as again, pytest.raises(DeviceWiped):
                again.sync()
        assert {name for name in names(folder) if not name.startswith(".device.wiped.")} == LEFT
    assert names(folder) == LEFT
    assert marked >= 6
