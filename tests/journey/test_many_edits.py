"""A device that was away for long: thousands of edits go up with bounded memory and visible progress."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

from satchel.device import Device, SetState, UploadProgress
from tests.support.processes import sandbox, satchel

EDITS = int(os.environ.get("SATCHEL_TEST_PENDING", "3000"))
"""Each is flushed to the disk. 10,000 make no difference but time."""
REPORTED_BY = 400
"""A bar that moves at least once for that many edits."""
DEVICE_MEGABYTES = 110
SERVER_MEGABYTES_MORE = 60


def test_thousands_of_edits_go_up(tmp_path: Path) -> None:
    with sandbox(tmp_path, 1500) as source, satchel(tmp_path / "data") as running:
        running.add(source)
        user = str(source.users[0]["id"])
        folder = tmp_path / "device"
        with Device.enroll(running.invite(user), folder, is_encrypted=False) as device:
            device.sync()
            rows = [row["contactid"] for row in device.table("contact").where("ownerid", "=", user).all()]
            for number in range(EDITS // 2):
                device.update("contact", rows[number % len(rows)], jobtitle=f"job {number}")
            with device.edit() as changes:
                changes.create("contact", lastname="in the same breath")
            for number in range(EDITS // 2 - 1):
                device.create("contact", lastname=f"new {number}")
            assert device.status().pending == {SetState.WAITING: EDITS}
            source.faults(throttle_probability=1, retry_after_seconds=1)  # the source lets nothing in
            server = running.pids()["sync"]
            before = peak_megabytes(server)
            seen: list[UploadProgress] = []
            half = EDITS // 2

            class Interrupted(Exception):
                pass

            def interrupt(progress: UploadProgress) -> None:
                seen.append(progress)
                if progress.sent >= half:
                    raise Interrupted

            with contextlib.suppress(Interrupted):
                device.sync(on_upload=interrupt)
            assert [p.sent for p in seen] == sorted({p.sent for p in seen}), "progress goes on only"
            assert max(b.sent - a.sent for a, b in itertools.pairwise(seen)) <= REPORTED_BY
            assert {p.total for p in seen} == {EDITS}
        command = [sys.executable, "-m", "satchel", "device", "sync", "--folder", str(folder)]
        peak = 0.0
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
            while child.poll() is None:
                peak = max(peak, peak_megabytes(child.pid))
                time.sleep(0.05)
            told = child.communicate()[0]
        assert child.returncode == 0, told
        with Device.open(folder) as device:
            assert device.status().pending == {SetState.SENT: EDITS}, told
        assert journaled(running.json("org", "show", "contoso")) == EDITS
        assert peak < DEVICE_MEGABYTES, f"the device took {peak:.0f} MB"
        assert peak_megabytes(server) - before < SERVER_MEGABYTES_MORE
        print(f"device {peak:.0f} MB, sync server {before:.0f} -> {peak_megabytes(server):.0f} MB")


def journaled(organization: dict[str, list[dict[str, object]]]) -> int:
    """How many edit sets of the organization are under way."""
    return sum(int(str(each["sets"])) for each in organization["edits"])


def peak_megabytes(pid: int) -> float:
    """The most memory that a process had; 0 where it has gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) / 1024 if found else 0.0
