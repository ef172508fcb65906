"""The embedded server: made whole, recovered after a kill, ending with its owner, refusing what it cannot use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from satchel.database.embedded import EmbeddedPostgres
from satchel.database.migrate import migrate
from satchel.database.pool import Database
from satchel.errors import DatabaseTooNew, DatabaseUnusable, DataFolderUnusable
from tests.support.processes import wait_for


def test_a_killed_server_recovers_what_was_committed(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "server")
    with psycopg.connect(server.start(), autocommit=True) as connection:
        connection.execute("create table t as select 7 as n")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: not server.is_running, "the server to be gone")

    with psycopg.connect(server.start()) as connection:
        assert connection.execute("select n from t").fetchone() == (7,)
    server.stop()


def test_the_server_does_not_outlive_its_owner(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, time; from satchel.database.embedded import EmbeddedPostgres;"
        "s = EmbeddedPostgres(pathlib.Path(sys.argv[1])); s.start(); print(s.pid, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "server")], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    owner.stdout.close()

    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the server to end with its owner")


def test_files_of_another_version_are_not_touched(tmp_path: Path) -> None:
    data = tmp_path / "server" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("99\n")
    with pytest.raises(DatabaseTooNew):
        EmbeddedPostgres(tmp_path / "server").start()
    (data / "PG_VERSION").write_text("12\n")
    with pytest.raises(DatabaseUnusable, match="12"):
        EmbeddedPostgres(tmp_path / "server").start()
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


def test_a_folder_that_cannot_be_written_is_told() -> None:
    with pytest.raises(DataFolderUnusable):
        EmbeddedPostgres(Path("/proc/satchel")).start()


async def test_a_database_of_a_newer_version_is_refused_and_not_changed(control: Database) -> None:
    await control.fetch("update satchel.version set number = 9999")

    with pytest.raises(DatabaseTooNew):
        await migrate(control, "control")
    assert (await control.fetch("select number from satchel.version"))[0][0] == 9999


async def test_migrating_again_does_nothing(control: Database) -> None:
    assert await migrate(control, "control") == 0


def test_a_killed_server_starts_again_although_its_processes_linger(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "server")
    connection = psycopg.connect(server.start())
    row = connection.execute("select pg_backend_pid()").fetchone()
    assert row is not None
    assert server.pid is not None
    os.kill(row[0], signal.SIGSTOP)  # it holds the shared memory until it goes on
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: not server.is_running, "the server to be gone")
    threading.Timer(1.0, os.kill, (row[0], signal.SIGCONT)).start()

    server.start()

    with psycopg.connect(server.url) as again:
        assert again.execute("select 1").fetchone() == (1,)
    connection.close()
    server.stop()


@pytest.mark.parametrize("name", ["a b", "50%", "a&b=c", "a,b"])
def test_a_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / name) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_server_starts_while_its_predecessor_still_ends(tmp_path: Path) -> None:
    before, after = EmbeddedPostgres(tmp_path / "server"), EmbeddedPostgres(tmp_path / "server")
    connection = psycopg.connect(before.start())
    assert before.pid is not None
    os.kill(before.pid, signal.SIGTERM)  # it waits for its clients, and holds the folder until they are gone
    ending = threading.Timer(1.0, connection.close)
    ending.start()

    after.start()
    ending.join()

    with psycopg.connect(after.url) as again:
        assert again.execute("select 1").fetchone() == (1,)
    before.stop()
    after.stop()
