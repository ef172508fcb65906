"""The lab in the test run. Longer by SATCHEL_LAB_SECONDS (of each trouble), wider by SATCHEL_LAB_DEVICES."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.host import ROOT
from tests.support.processes import wait_for

DEVICES = os.environ.get("SATCHEL_LAB_DEVICES", "6")
LIMIT_SECONDS = 600 + 30 * float(os.environ.get("SATCHEL_LAB_SECONDS", "1"))
pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(LIMIT_SECONDS + 60),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces want root"),
]


def test_the_installation_bears_every_trouble(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.lab", "--keep", str(tmp_path / "logs"), "--devices", DEVICES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    report = json.loads(done.stdout.rpartition("report ")[2])
    assert report["edits"]["accepted"] > 20
    assert report["kept from"] > 30


def test_kill_9_of_the_lab_leaves_nothing() -> None:
    before = namespaces()
    lab = subprocess.Popen([sys.executable, "-m", "tests.lab"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert lab.stdout is not None
    assert "hosts and firewalls stand" in lab.stdout.readline()
    started = namespaces() - before
    assert len(started) > 10
    lab.send_signal(signal.SIGKILL)
    lab.wait()
    lab.stdout.close()
    wait_for(lambda: not started & namespaces(), "all that the lab started to be gone")


def namespaces() -> set[str]:
    """Network namespaces that some process is in."""
    found = set()
    for process in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(os.readlink(process))
        except OSError:
            continue
    return found
