"""Real faults show in words, in metrics and in the log, within a minute, and are over when they are over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from satchel.device import Device
from tests.support.processes import Sandbox, Satchel, free_port, satchel, wait_for

PORT, SYNC_PORT = free_port(), free_port()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, source: Sandbox) -> Iterator[Satchel]:
    folder = tmp_path_factory.mktemp("examined") / "data"
    settings = {
        "SATCHEL_TELEMETRY__FLUSH_SECONDS": "0.3",
        "SATCHEL_HEALTH__LOOK_SECONDS": "1",
        "SATCHEL_METRICS__PROVISIONING_PORT": str(PORT),
        "SATCHEL_METRICS__SYNC_PORT": str(SYNC_PORT),
    }
    with satchel(folder, **settings) as started:
        started.add(source)
        yield started


def doctor(running: Satchel) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "satchel", "doctor", "--json"], env={**os.environ, **running.environment},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


def bad(running: Satchel) -> dict[str, str]:
    status, told = doctor(running)
    found = {each["check"]: each["message"] for each in told["findings"] if each["level"] != "good"}
    assert (status == 1) == bool(found)
    return found


def metric(name: str, port: int = PORT) -> list[str]:
    page = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    return [line for line in page.splitlines() if line.startswith(name)]


def test_at_rest_everything_is_well(running: Satchel) -> None:
    wait_for(lambda: not bad(running), "everything to be well")

    assert metric("satchel_pull_lag_seconds{")
    assert not metric("satchel_findings{")


def test_a_source_that_stopped_answering_shows_within_a_minute(running: Satchel, source: Sandbox) -> None:
    source.faults(down=True)
    try:
        assert "source" in bad(running)  # the doctor asks it
        wait_for(lambda: metric('satchel_findings{check="source"'), "the metrics to show it", seconds=60)
    finally:
        source.faults(down=False)
    wait_for(lambda: not metric('satchel_findings{check="source"'), "it to be over")
    wait_for(lambda: "over" in running.run("logs", "--text", "over", "--service", "provisioning"), "the log to say so")


def test_a_device_that_watches_gets_change_after_change_in_one_answer_until_it_goes_away(
    running: Satchel, source: Sandbox, tmp_path: Path
) -> None:
    """Without notice of its going, it would be waited for most of a minute, and the next large change read for it."""

    def total(name: str) -> float:
        return sum(float(line.rpartition(" ")[2]) for line in metric(name, SYNC_PORT))

    def answers() -> float:
        return total('satchel_requests_total{endpoint="sync",route="/v1/orgs/{organization}/sync",status="200"')

    with Device.enroll(running.invite(source.users[0]["id"]), tmp_path / "device", is_encrypted=False) as device:
        device.sync()
        key = device.sql("select contactid from contact limit 1")[0]["contactid"]
    command = [sys.executable, "-m", "satchel", "device", "watch", "--json", "--folder", str(tmp_path / "device")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child, ExitStack() as stack:
        assert child.stdout is not None
        stack.callback(child.kill)  # or else a failure would wait for its end
        # Other requests are over at once: one that is there twenty times in turn is the poll.
        wait_for(lambda: all(total("satchel_open_requests") == 1 for _ in range(20)), "it to wait")
        before = answers()
        assert before > 0
        for number in range(3):
            source.send("PATCH", f"contacts({key})", json={"jobtitle": f"change {number}"})
            assert json.loads(child.stdout.readline())["rows_put"] == 1
        assert answers() == before  # it is not at its end
    wait_for(lambda: total("satchel_open_requests") == 0, "the server to notice", seconds=10)


def test_a_storage_that_takes_nothing_shows_and_what_cannot_be_sealed(running: Satchel, source: Sandbox) -> None:
    objects, away = running.folder / "objects", running.folder / "objects-away"
    objects.rename(away)
    objects.write_text("no folder")
    try:
        for row in source.rows("contacts", **{"$top": "150"}):  # enough of a bucket for another image of it
            source.send("PATCH", f"contacts({row['contactid']})", json={"jobtitle": "Changed"})
        for check in ("storage", "seal snapshots"):
            wait_for(lambda check=check: metric(f'satchel_findings{{check="{check}"'), f"{check} to show", seconds=60)
        assert "storage" in bad(running)
    finally:
        objects.unlink()
        away.rename(objects)
    wait_for(lambda: not bad(running), "everything to be well again", seconds=60)


def test_a_database_that_waits_for_the_end_of_an_upgrade_shows(running: Satchel) -> None:
    with psycopg.connect(running.database_url("satchel"), autocommit=True) as connection:
        connection.execute("update satchel.version set waiting = '{1}'")  # as `satchel run migrate --pre` leaves one
        try:
            assert "older" in bad(running)["version"]
        finally:
            connection.execute("update satchel.version set waiting = '{}'")
    assert "version" not in bad(running)


def test_a_worker_that_is_gone_shows(running: Satchel) -> None:
    with running.untended():
        os.kill(running.pids()["worker"], signal.SIGKILL)
        found = wait_for(lambda: metric('satchel_findings{check="process"'), "the metrics to show it", seconds=60)
        assert "process" in bad(running)
    assert found
    wait_for(lambda: not metric('satchel_findings{check="process"'), "another to take its place")


def test_a_database_that_does_not_answer_shows(running: Satchel) -> None:
    with running.untended():
        postgres = running.pids()["postgres"]
        os.kill(postgres, signal.SIGSTOP)
        try:
            assert "database" in bad(running)
        finally:
            os.kill(postgres, signal.SIGCONT)
    wait_for(lambda: not bad(running), "everything to be well again")
