"""A bad wire: a program between two bridges that keeps every frame a while, loses some and changes their order.

The kernel's own `netem` is not in every kernel; two tap devices and this loop are. Run as
`python -m tests.lab.wire BRIDGE FAR_BRIDGE DELAY_MS JITTER_MS LOSS_PERCENT`; it says "ready" and ends with SIGTERM.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_FRAME_BYTES = 65535


def main(near: str, far: str, delay_ms: float, jitter_ms: float, loss_percent: float) -> None:
    """Carry frames until killed."""
    ends = [_tap("wire0", near), _tap("wire1", far)]
    r, waiting = random.Random(7), list[tuple[float, int, int, bytes]]()
    serial = 0
    print("ready", flush=True)
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for end in select.select(ends, [], [], timeout)[0]:
            frame = os.read(end, _FRAME_BYTES)
            if r.random() * 100 >= loss_percent:
                due = time.monotonic() + (delay_ms + r.uniform(0, jitter_ms)) / 1000
                serial += 1
                heapq.heappush(waiting, (due, serial, ends[1 - ends.index(end)], frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, end, frame = heapq.heappop(waiting)
            os.write(end, frame)


def _tap(name: str, bridge: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TAP | _IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "master", bridge, "up"], check=True)
    return end


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(float(word) for word in sys.argv[3:6]))
