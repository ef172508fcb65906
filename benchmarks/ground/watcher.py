"""One real device in a process of its own that stays connected: tells when a row has which value.

`python -m benchmarks.ground.watcher FOLDER KEY COLUMN` opens an enrolled device, syncs, says so in one JSON line, and
then writes a line for each new value of that column, with the moment at which a read of the database shows it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from satchel.device import Device


def main() -> None:
    """Watch until ended."""
    folder, key, column = sys.argv[1:4]
    with Device.open(Path(folder)) as device:
        device.sync()
        query = f'select "{column}" from contacts where id = ?'  # noqa: S608 - one of our own columns
        last: object = None

        def look(_: object = None) -> None:
            nonlocal last
            value = device.sql(query, [key])[0][column]
            moment = time.monotonic()
            if value != last:
                last = value
                sys.stdout.write(json.dumps({"value": value, "moment": moment}) + "\n")
                sys.stdout.flush()

        look()
        device.watch(look)


if __name__ == "__main__":
    main()
