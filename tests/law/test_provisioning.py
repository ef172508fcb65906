"""Provisioning and deprovisioning, killed at random moments: what was asked for is there in the end, or nothing is."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests.support.processes import EXAMPLE_PROFILE, Satchel, sandbox, satchel, wait_for

pytestmark = pytest.mark.kill

NAMES = ["alpha", "beta", "gamma"]
SEED = 4


def kill_a_few_times(running: Satchel, r: random.Random) -> None:
    for _ in range(3):
        time.sleep(r.uniform(0.0, 0.9))  # any moment: the point is that it cannot be foreseen
        pid = running.pids().get("provisioning")
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def states(running: Satchel) -> dict[str, str]:
    return {o["name"]: o["state"] for o in running.json("org", "list")}


def left_behind(running: Satchel) -> list[str]:
    url = running.database_url()
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select datname from pg_database where datname like 'satchel\\_%'"
            " union all select rolname from pg_roles where rolname like 'satchel\\_%'"
        ).fetchall()
    return [row[0] for row in rows]


def test_events_survive_kills_of_the_provisioning_service(tmp_path: Path) -> None:
    r = random.Random(SEED)
    with sandbox(tmp_path, 1000) as source, satchel(tmp_path / "data") as running:
        secret = tmp_path / "secret"
        secret.write_text(source.client_secret)
        for name in NAMES:
            running.run(
                "org", "add", name, "--source", source.url, "--token-url", source.token_url, "--client-id",
                source.client_id, "--client-secret-file", str(secret), "--profile", str(EXAMPLE_PROFILE),
            )  # fmt: skip
            running.run("org", "provision", name)
        kill_a_few_times(running, r)

        wait_for(lambda: states(running) == dict.fromkeys(NAMES, "active"), f"all to be active (seed {SEED})", 120)
        assert len(left_behind(running)) == 2 * len(NAMES)  # one database and one role each
        for name in NAMES:
            running.run("org", "provision", name, "--wait")
            running.run("org", "deprovision", name, "--yes")
        kill_a_few_times(running, r)

        wait_for(lambda: states(running) == {}, f"all to be gone (seed {SEED})", 120)
        assert left_behind(running) == []
