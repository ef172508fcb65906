"""A process that edits rows until it is killed: folder, key file, entity, attribute, serial number, keys."""

import itertools
import sys
from pathlib import Path

from satchel.device import Device, DeviceKey
from satchel.errors import EditInvalid


def main(folder: str, key_file: str, entity: str, attribute: str, serial: str, *keys: str) -> None:
    """Edit row after row, each with a value of its own."""
    with Device.open(Path(folder), key=DeviceKey.from_file(Path(key_file))) as device:
        for number, key in enumerate(itertools.islice(itertools.cycle(keys), 40)):
            try:
                device.update(entity, key, {attribute: f"edit {serial}.c{number}"})
            except EditInvalid:
                continue  # the row is gone here


if __name__ == "__main__":
    main(*sys.argv[1:])
