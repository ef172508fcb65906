"""kill -9 of every process at random moments while data changes: after that everything agrees again, row for row."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from satchel.device import Device, DeviceKey
from satchel.errors import RetryLater
from tests.support.checker import differences
from tests.support.processes import EXAMPLE_PROFILE, Satchel, sandbox, satchel, wait_for

pytestmark = pytest.mark.kill

NARROW = EXAMPLE_PROFILE.read_text().replace('rows = ["own", "team"]', 'rows = ["own"]').replace('"jobtitle", ', "")
ROUNDS = 12
ROWS = 4000
SEED = 20261123


def publish(running: Satchel, folder: Path, text: str) -> None:
    """Publish another version of the profile; the database may be down just now."""
    file = folder / "profile.toml"
    file.write_text(text)

    def is_published() -> bool:
        try:
            running.run("profile", "import", "contoso", str(file), "--publish")
        except AssertionError:
            return False
        return True

    wait_for(is_published, "the profile to be published")


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def sync_in_a_process_that_dies(folder: Path, key_file: Path, after_seconds: float) -> None:
    """The command line's device, killed in the middle."""
    command = [sys.executable, "-m", "satchel", "device", "sync", "--from-start"]
    child = subprocess.Popen(
        [*command, "--folder", str(folder), "--key-file", str(key_file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        child.wait(after_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def test_after_any_kill_everything_converges(tmp_path: Path) -> None:
    r = random.Random(SEED)
    key_file = tmp_path / "key"
    key_file.write_text("a key")
    with sandbox(tmp_path, ROWS) as source, satchel(tmp_path / "data") as running:
        running.add(source)
        user = source.users[0]["id"]
        folder = tmp_path / "device"
        with Device.enroll(running.invite(user), folder, key=DeviceKey.from_file(key_file)) as device:
            device.sync()
        for number in range(ROUNDS):
            source.mutate(150, seed=SEED + number)
            if number % 3 == 1:  # what is killed may be in the middle of publishing
                publish(running, tmp_path, NARROW if number % 2 else EXAMPLE_PROFILE.read_text())
            victim = r.choice(["worker", "sync", "postgres", "provisioning", "device", "worker", "postgres"])
            if victim == "device":
                sync_in_a_process_that_dies(folder, key_file, r.uniform(0.4, 1.2))
            else:
                time.sleep(r.uniform(0.0, 1.2))  # any moment of a pull: the point is that it cannot be foreseen
                pid = running.pids().get(victim)  # None: it is being started again just now
                if pid is not None:
                    kill(pid)
            source.mutate(50, seed=SEED - number - 1)
        publish(running, tmp_path, EXAMPLE_PROFILE.read_text())
        with Device.open(folder, key=DeviceKey.from_file(key_file)) as device:

            def agrees() -> bool:
                try:
                    device.sync()
                except RetryLater:
                    return False
                return not differences(device, source, user)

            try:
                wait_for(agrees, "everything to agree", seconds=60)
            except AssertionError:
                raise AssertionError(f"seed {SEED}: {differences(device, source, user)[:10]}") from None
