"""Source -> staging and staging -> device: rows a second, bytes a row, memory of each process. One run, one table.

Times move with the machine's load; compare figures of one run, or ratios. The limits measured in the same run are
SQLite's `executemany` from memory and a plain read of the source.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.edits import edit_figures
from benchmarks.scopes import scope_figures
from satchel.device import Device, DeviceKey
from tests.support.processes import Sandbox, Satchel, sandbox, satchel

PROFILE = """
name = "all contacts"
[[entity]]
name = "contact"
rows = ["all"]
columns = ["fullname", "firstname", "lastname", "emailaddress1", "telephone1", "jobtitle", "birthdate",
           "parentcustomerid", "creditlimit", "donotemail", "ownerid", "statecode", "modifiedon"]
"""
CONTACTS_SHARE = 0.48
RESULTS = Path(__file__).with_name("results") / "latest.json"
Figure = dict[str, object]
console = Console(highlight=False)


class Peaks(threading.Thread):
    """Samples the memory of processes while something runs."""

    def __init__(self, pids: dict[str, int]) -> None:
        super().__init__(daemon=True)
        self._pids = pids
        self._done = threading.Event()
        self.megabytes: dict[str, float] = {}

    def run(self) -> None:
        while not self._done.wait(0.1):
            for name, pid in self._pids.items():
                self.megabytes[name] = max(self.megabytes.get(name, 0.0), resident_megabytes(pid))

    def stop(self) -> None:
        self._done.set()
        self.join()


def resident_megabytes(pid: int) -> float:
    """Memory of a process that it shares with no other; 0 where it has gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    kilobytes = [int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")]
    return sum(kilobytes) / 1024


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Seconds, in the list when the block ends."""
    seconds: list[float] = []
    began = time.monotonic()
    yield seconds
    seconds.append(time.monotonic() - began)


def plain_read(source: Sandbox) -> tuple[int, float]:
    """Rows a second of reading the source and doing nothing with it: what the source itself can give."""
    columns = "fullname,firstname,lastname,emailaddress1,telephone1,jobtitle,birthdate,creditlimit,donotemail,statecode"
    count, url = 0, f"contacts?$select={columns}"
    with stopwatch() as seconds:
        while url:
            page = source.send("GET", url, headers={"Accept-Encoding": "gzip"}).json()
            count += len(page["value"])
            url = page.get("@odata.nextLink", "").rpartition("/v9.2/")[2]
    return count, count / seconds[0]


def executemany(device: Device, folder: Path) -> float:
    """Rows a second of SQLite alone: the device's rows from memory into the same table, indexes behind."""
    rows = device._reader.connection.execute("select * from contact").fetchall()
    schema = device.sql("select sql from sqlite_master where name = 'contact'")[0]["sql"]
    connection = apsw.Connection(str(folder / "plain.sqlite"))
    connection.pragma("journal_mode", "wal")
    connection.execute(schema)
    marks = ",".join("?" * len(rows[0]))
    with stopwatch() as seconds, connection:
        connection.executemany(f"insert into contact values ({marks})", rows)  # noqa: S608
        connection.execute("create index a on contact (parentcustomerid); create index b on contact (ownerid)")
    connection.close()
    return len(rows) / seconds[0]


def staging_bytes(running: Satchel, rows: int) -> float:
    """Bytes a row of everything in the organization's staging database, an empty database's own size left out."""
    url = json.loads((running.folder / "run" / "supervisor.json").read_text())["database_url"]
    with psycopg.connect(url) as connection:
        sizes = connection.execute(
            "select pg_database_size(datname), datname from pg_database where starts_with(datname, 'satchel_')"
        ).fetchall()
        empty = connection.execute("select pg_database_size('template0')").fetchone()
    return (max(size for size, _ in sizes) - (empty or (0,))[0]) / rows


def first_sync(running: Satchel, user: str, folder: Path, *, is_encrypted: bool) -> tuple[Device, list[Figure]]:
    """A device's first sync: rates, bytes, server CPU."""
    key = DeviceKey.from_passphrase("bench") if is_encrypted else None
    device = Device.enroll(running.invite(user), folder, key=key, is_encrypted=is_encrypted)
    sync_pid, name = running.pids()["sync"], "encrypted" if is_encrypted else "plain"
    before = cpu_seconds(sync_pid)
    report = device.sync()
    rows = report.rows_put
    return device, [
        figure(f"staging -> device, {name}", rows / report.duration_seconds, "rows/s"),
        figure(f"first sync, {name}", report.duration_seconds, "s"),
        figure(f"sync server CPU, {name}", cpu_seconds(sync_pid) - before, "s"),
        figure(f"bytes on the wire, {name}", report.bytes_received / rows, "B/row"),
        figure(f"bytes on the device, {name}", device.status().size_bytes / rows, "B/row"),
    ]


def device_peak_megabytes(running: Satchel, user: str, folder: Path) -> float:
    """Peak memory of a device's process in its first sync."""
    running.run("device", "enroll", running.invite(user), "--folder", str(folder), "--no-encryption")
    command = [sys.executable, "-m", "satchel", "device", "sync", "--folder", str(folder)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peaks = Peaks({"device": child.pid})  # not wait4's maximum: that begins with the memory of the process that forked
    peaks.start()
    assert child.wait() == 0
    peaks.stop()
    return peaks.megabytes["device"]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def figure(name: str, value: float, unit: str) -> Figure:
    """One figure."""
    return {"figure": name, "satchel": round(value, 3), "unit": unit}


def measure(folder: Path, contacts: int) -> list[Figure]:
    """All figures."""
    found: list[Figure] = []
    profile = folder / "profile.toml"
    profile.write_text(PROFILE)
    console.print(f"making a sample organization with about {contacts:,} contacts ...")
    with sandbox(folder, int(contacts / CONTACTS_SHARE)) as source, satchel(folder / "data") as running:
        count, rate = plain_read(source)
        found.append(figure("limit: plain read of the source", rate, "rows/s"))
        console.print("pulling ...")
        peaks = Peaks(running.pids())
        peaks.start()
        with stopwatch() as seconds:
            running.add(source, profile=profile)
        found.append(
            figure("source -> staging, provisioning and key comparison included", count / seconds[0], "rows/s")
        )
        found.append(figure("bytes in the staging database", staging_bytes(running, count), "B/row"))
        # The administrator may read every row; field users get what their roles reach.
        user = str(source.rows("systemusers", **{"$filter": "title eq 'Administrator'"})[0]["systemuserid"])
        for is_encrypted in (False, True):
            console.print(f"first sync, {'encrypted' if is_encrypted else 'plain'} ...")
            device, figures = first_sync(running, user, folder / f"device{is_encrypted}", is_encrypted=is_encrypted)
            found += figures
            if not is_encrypted:
                found.append(figure("limit: executemany from memory", executemany(device, folder), "rows/s"))
            device.close()
        found += changes(source, running, user, folder)
        console.print("editing ...")
        found += edit_figures(running, user, folder)
        device_peak = device_peak_megabytes(running, user, folder / "third")
        peaks.stop()
        found += [figure(f"peak memory: {name}", value, "MB") for name, value in sorted(peaks.megabytes.items())]
        found.append(figure("peak memory: device", device_peak, "MB"))
    return found


def changes(source: Sandbox, running: Satchel, user: str, folder: Path) -> list[Figure]:
    """From a change at the source to the connected device, at a pull interval of one second."""
    with Device.open(folder / "deviceFalse") as device:
        device.sync()
        waits = []
        contact = device.sql("select contactid from contact limit 1")[0]["contactid"]
        for number in range(5):
            began = time.monotonic()
            source.send("PATCH", f"contacts({contact})", json={"jobtitle": f"Job {number}"})
            while (device.table("contact").get(contact) or {}).get("jobtitle") != f"Job {number}":
                device.sync(wait_seconds=5)
            waits.append(time.monotonic() - began)
        with stopwatch() as seconds:
            for _ in range(200):
                device.sync()
    return [
        figure("change at the source -> device (pull interval 1 s), median", sorted(waits)[2], "s"),
        figure("syncs with nothing new, one device, one connection", 200 / seconds[0], "1/s"),
    ]


def main() -> int:
    """Measure, print the table, write benchmarks/results/latest.json."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--contacts", type=int, default=200_000, help="contacts in the sample organization")
    contacts = parser.parse_args().contacts
    folder = Path(tempfile.mkdtemp(prefix="satchel-bench-"))
    try:
        figures = measure(folder, contacts)
        console.print("changing scopes ...")
        figures += scope_figures()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = Table(box=None, header_style="bold")
    for name in ("figure", "satchel", "unit"):
        table.add_column(name, justify="right" if name == "satchel" else "left")
    for one in figures:
        table.add_row(str(one["figure"]), f"{one['satchel']:,.1f}", str(one["unit"]))
    console.print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "contacts": contacts}
    RESULTS.write_text(json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
