"""The master key is replaced while services and devices go on, also where the command is killed in the middle."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from satchel.device import Device, SyncReport
from tests.support.debian_postgres import DebianPostgres
from tests.support.processes import Sandbox, Satchel, sandbox, satchel, wait_for


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("source"), 1000) as running:
        yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, source: Sandbox) -> Iterator[Satchel]:
    """Against a server that asks for passwords."""
    folder = tmp_path_factory.mktemp("satchel")
    with (
        DebianPostgres(folder / "postgres") as postgres,
        satchel(folder / "data", SATCHEL_DATABASE__URL=postgres.url) as started,
    ):
        started.add(source)
        postgres.query("postgres", "alter system set log_statement = 'ddl'")
        postgres.query("postgres", "select pg_reload_conf()")
        started.run("org", "add", "fabrikam", *_again(source, folder))
        yield started


def _again(source: Sandbox, folder: Path) -> list[str]:
    """Registered only: it has no database yet."""
    profile = Path(__file__).resolve().parents[2] / "examples" / "field-service.toml"
    secret = folder / "fabrikam.secret"
    secret.write_text(source.client_secret)
    return [
        "--source", source.url, "--token-url", source.token_url, "--client-id", source.client_id,
        "--client-secret-file", str(secret), "--profile", str(profile),
    ]  # fmt: skip


def killed_rotation(running: Satchel) -> None:
    """`satchel key rotate`, killed as soon as the new key is kept."""
    process = subprocess.Popen(
        [sys.executable, "-m", "satchel", "key", "rotate"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, **running.environment},
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    process.kill()
    process.wait(10)
    process.stdout.close()
    assert line.startswith("new key")


def goes_on(source: Sandbox, device: Device, seed: int) -> bool:
    """What changes at the source still comes to the device, which need not begin anew."""
    source.mutate(60, seed)
    reports: list[SyncReport] = []

    def is_something_new() -> bool:
        reports.append(device.sync(wait_seconds=5))
        return not reports[-1].was_current

    wait_for(is_something_new, "changes of the source")
    return not any(report.was_reset for report in reports)


def test_the_key_is_replaced_while_everything_runs(running: Satchel, source: Sandbox, tmp_path: Path) -> None:
    first = running.json("key", "list")
    assert [(key["seals"], key["organizations"]) for key in first] == [(True, ["contoso", "fabrikam"])]
    pids = running.pids()
    with Device.enroll(running.invite(source.users[0]["id"]), tmp_path / "device", is_encrypted=False) as device:
        device.sync()
        killed_rotation(running)
        between = running.json("key", "list")
        assert len(between) == 2
        assert between[0]["organizations"] != ["contoso", "fabrikam"]
        assert goes_on(source, device, 1)  # with half a rotation everything goes on

        running.run("key", "retire", "--yes", status=2)
        running.run("key", "rotate")
        after = running.json("key", "list")
        assert [key["name"] for key in after] == [key["name"] for key in between]  # it went on; there is no third key
        assert [key["organizations"] for key in after] == [["contoso", "fabrikam"], []]
        assert goes_on(source, device, 2)  # the cursor of before still counts

        running.run("key", "retire", "--yes")
        assert len(running.json("key", "list")) == 1
        assert goes_on(source, device, 3)
    assert running.pids() == pids  # nothing had to be started anew
    running.run("org", "provision", "fabrikam", "--wait")
    # Not by rglob, which fails where a folder goes away meanwhile.
    found = (Path(folder) / "postgres.log" for folder, _, _ in os.walk(running.folder.parent))
    logged = next(path for path in found if path.exists()).read_text().lower()
    assert "alter role satchel_contoso" in logged.replace('"', "")
    assert not re.search("password '[0-9a-f]{64}'", logged)  # only what the server checks it by


def test_a_device_whose_cursor_is_of_a_key_that_went_loads_its_data_anew(
    running: Satchel, source: Sandbox, tmp_path: Path
) -> None:
    with Device.enroll(running.invite(source.users[1]["id"]), tmp_path / "device", is_encrypted=False) as device:
        device.sync()
        rows = device.sql("select count(*) as rows from contact")
        running.run("key", "rotate")
        running.run("key", "retire", "--yes")
        report = wait_for(device.sync, "the sync")
        assert report.was_reset
        assert device.sql("select count(*) as rows from contact") == rows
