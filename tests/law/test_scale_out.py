"""Several workers and several sync servers: what is asleep does no harm when it wakes, and a restart fails no sync."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from satchel.device import Device, DeviceKey
from satchel.errors import SatchelError
from tests.law.edits.test_kill import executed
from tests.support.balancer import Balancer
from tests.support.checker import differences
from tests.support.free_ports import free_port
from tests.support.processes import Satchel, sandbox, satchel, wait_for
from tests.support.separate import is_live

KEY = DeviceKey.from_passphrase("a passphrase")
pytestmark = [
    pytest.mark.skipif("SATCHEL_TEST_PLACES" not in os.environ, reason="minutes long: SATCHEL_TEST_PLACES=1"),
    pytest.mark.kill,
    pytest.mark.timeout(300),
]


class SecondSync:
    """Another sync server of the same Satchel, on ports of its own."""

    def __init__(self, running: Satchel) -> None:
        self.port, self._metrics_port = free_port(), free_port()
        ports = {
            "SATCHEL_SYNC__PORT": str(self.port),
            "SATCHEL_MANAGEMENT__PORT": str(free_port()),
            "SATCHEL_METRICS__SYNC_PORT": str(self._metrics_port),
        }
        self._environment = {**os.environ, **running.environment, **ports, "SATCHEL_SYNC__DRAIN_NOTICE_SECONDS": "0.5"}
        self._log = running.folder.parent / "second.log"
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "satchel", "run", "sync"]
            self.child = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        wait_for(lambda: is_live(self.port), "the second sync server")

    def open_requests(self) -> float:
        """How many requests are under way there; a device that waits is one."""
        text = httpx.get(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=5).text
        return float(text.split("\nsatchel_open_requests ")[1].split()[0])

    def stop(self) -> int:
        assert self.child is not None
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(30)


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"https://localhost:{port}/health/ready", verify=False, timeout=2).is_success  # noqa: S501
    except httpx.HTTPError:
        return False


def test_no_stickiness_and_no_failed_sync_while_servers_restart(tmp_path: Path) -> None:
    with sandbox(tmp_path, 1500) as source, satchel(tmp_path / "data", is_separate=True) as running:
        running.add(source)
        second = SecondSync(running)
        second.start()
        user = source.users[0]["id"]
        failures: list[str] = []
        with Balancer([running.sync_port, second.port], is_ready) as balancer:
            running.environment["SATCHEL_SYNC__PUBLIC_URL"] = f"https://localhost:{balancer.port}"
            wait_for(lambda: len(balancer.ready) == 2, "both to be ready")
            Device.enroll(running.invite(user), tmp_path / "device", key=KEY).close()
            stop, syncs = threading.Event(), 0

            def restart() -> None:
                for _ in range(2):
                    assert second.stop() == 0
                    second.start()
                stop.set()

            restarting = threading.Thread(target=restart)
            restarting.start()
            number = 0
            while not stop.is_set():
                number += 1
                source.mutate(5, seed=number)
                with Device.open(tmp_path / "device", key=KEY) as device:
                    try:
                        device.sync(from_start=number % 3 == 0)
                        syncs += 1
                    except SatchelError as error:
                        failures.append(f"{error.code} {error.message}")
            restarting.join()
            with Device.open(tmp_path / "device", key=KEY) as device:
                wait_for(lambda: device.sync() and not differences(device, source, user), "the device to be right")
            assert second.stop() == 0
            assert failures == []
            assert syncs > 3
            assert min(balancer.served.values()) > 0


def test_long_polls_are_answered_at_once_when_a_server_ends(tmp_path: Path) -> None:
    with sandbox(tmp_path, 1000) as source, satchel(tmp_path / "data", is_separate=True) as running:
        running.add(source)
        second = SecondSync(running)
        second.start()
        running.environment["SATCHEL_SYNC__PUBLIC_URL"] = f"https://localhost:{second.port}"
        with Device.enroll(running.invite(source.users[0]["id"]), tmp_path / "device", key=KEY) as device:
            wait_for(lambda: device.sync().was_current, "the device to be current")
            heard: list[str] = []
            watching = threading.Thread(
                target=device.watch,
                args=(lambda _: None,),
                kwargs={"on_trouble": lambda e: heard.append(e.code), "should_stop": lambda: bool(heard)},
            )
            watching.start()
            wait_for(lambda: second.open_requests() > 0, "the device to wait")

            began = time.monotonic()
            assert second.stop() == 0
            took_seconds = time.monotonic() - began

            wait_for(lambda: heard, "the device to notice")
            watching.join(30)
            assert took_seconds < 8  # a poll waits up to half a minute


def test_a_worker_that_was_asleep_does_no_harm_when_it_wakes(tmp_path: Path) -> None:
    with sandbox(tmp_path, 1500) as source, satchel(tmp_path / "data", is_separate=True) as running:
        running.add(source)
        user = source.users[0]["id"]
        made: dict[str, str] = {}
        with Device.enroll(running.invite(user), tmp_path / "device", key=KEY) as device:
            device.sync()
            contacts = [row["contactid"] for row in device.table("contact").limit(3).all()]
            sleeper = running.pids()["worker"]
            source.mutate(300, seed=1)
            for number, key in enumerate(contacts):
                with device.edit() as changes:
                    changes.update("contact", key, jobtitle=f"edit {number}")
                made[device.pending()[-1].id] = f"edit {number}"
            device.sync()
            os.kill(sleeper, signal.SIGSTOP)  # in the middle of whatever it does
            try:
                source.mutate(300, seed=2)
                wait_for(lambda: _settled(device), "another worker to take its work over", 90)
                source.mutate(300, seed=3)
            finally:
                os.kill(sleeper, signal.SIGCONT)
            source.mutate(300, seed=4)
            wait_for(lambda: _settled(device) and not differences(device, source, user), "all to agree", 60)
        counts = {text: len(executed(source).get(set_id, [])) for set_id, text in made.items()}
        assert {text: count for text, count in counts.items() if count != 1} == {}


def _settled(device: Device) -> bool:
    try:
        device.sync()
    except SatchelError:
        return False
    return not device.pending()
