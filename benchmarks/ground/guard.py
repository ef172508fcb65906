"""Watches over a run: when whoever started it is gone, however that came, all that it started and its folder go too.

`python -m benchmarks.ground.guard FOLDER` reads its input until that ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.ground.processes import python

GRACE_SECONDS = 10.0
LOOK_SECONDS = 0.2


def guard(folder: Path) -> subprocess.Popen[bytes]:
    """Start it. Its input closes with our process."""
    return subprocess.Popen(python("benchmarks.ground.guard", folder), stdin=subprocess.PIPE, start_new_session=True)


def members(folder: Path) -> list[int]:
    """Processes whose command or environment names the folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
            if str(folder).encode() in told and int(place.name) != os.getpid():
                found.append(int(place.name))
    return found


def main() -> None:
    """Wait for the end of the run, then clean up."""
    folder = Path(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run
    sys.stdin.read()
    give_up_at = time.monotonic() + GRACE_SECONDS
    while pids := members(folder):
        for pid in pids:
            with suppress(OSError):
                os.kill(pid, signal.SIGTERM if time.monotonic() < give_up_at else signal.SIGKILL)
        time.sleep(LOOK_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
