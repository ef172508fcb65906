"""One real device's first sync in a process of its own: how long it takes, and the most memory the process ever had.

`python -m benchmarks.ground.syncer LINK FOLDER` prints one JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from satchel.device import Device


def main() -> None:
    """Enroll, sync, tell."""
    link, folder = sys.argv[1], Path(sys.argv[2])
    with Device.enroll(link, folder, is_encrypted=False) as device:
        began = time.perf_counter()
        report = device.sync()
        seconds = time.perf_counter() - began
        size = device.status().size_bytes
    status = Path("/proc/self/status").read_text()
    peak_kib = int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])
    found = {"rows": report.rows_put, "seconds": seconds, "peak_megabytes": peak_kib / 1024, "size_bytes": size}
    sys.stdout.write(json.dumps({**found, "wire_bytes": report.bytes_received}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
