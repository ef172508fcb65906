"""A wipe: all that a device holds is erased, so that nothing can be read even if it is killed in the middle.

The mark comes first: as long as it stands, every open goes on erasing and refuses. Then the keys go, the database from
its first page (which holds the salt of the cipher) to its last, and the description, which names the keyring, at last.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

import msgspec

from satchel.device.folder import Description, DeviceFolder, sync_folder, write_private
from satchel.device.key import forget_key
from satchel.errors import DataFolderUnusable, DeviceBusy, DeviceWiped

_CHUNK = bytes(1024 * 1024)


class WipeMark(msgspec.Struct, frozen=True):
    """`device.wiped`: that this folder held a device, and since when it does not."""

    at: str
    """ISO 8601, UTC."""


def mark_wiped(folder: DeviceFolder) -> None:
    """Begin a wipe: from here on there is no way back."""
    mark = WipeMark(datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        write_private(folder.wiped, msgspec.json.encode(mark))
    except OSError:
        with contextlib.suppress(OSError):
            folder.wiped.touch()  # a full disk takes an empty mark, and it counts as well


def refuse_wiped(folder: DeviceFolder) -> None:
    """Go on with a wipe that was broken off. Errors: DeviceWiped where one was begun, DataFolderUnusable."""
    if not folder.wiped.exists():
        return
    with contextlib.suppress(DeviceBusy), folder.lock():  # busy: another process erases just now
        if not folder.wiped.exists():
            return  # enrolled anew meanwhile
        erase(folder)
    raise DeviceWiped


def erase(folder: DeviceFolder) -> None:
    """Erase keys, database and description; again is harmless. The caller holds the lock and no connection.

    Errors: DataFolderUnusable; the next open tries again.
    """
    try:
        for file in _with_temporaries(folder.key_file):
            _destroy(file)
        is_key_gone = forget_key(folder) if _is_key_in_keyring(folder) else True
        for file in sorted(folder.path.glob(f"{folder.database.name}*")):
            _destroy(file)
        if is_key_gone:
            for file in _with_temporaries(folder.description):
                file.unlink(missing_ok=True)  # no secret in it, and it must stay readable until it is gone
    except OSError as error:
        raise DataFolderUnusable(
            f"{folder.path} cannot be erased: {error.strerror}.", hint="Delete the folder by hand."
        ) from error
    sync_folder(folder.path)


def _is_key_in_keyring(folder: DeviceFolder) -> bool:
    """Also where the description cannot be read."""
    try:
        return msgspec.json.decode(folder.description.read_bytes(), type=Description).key_source == "keyring"
    except FileNotFoundError:
        return False  # it goes after the key
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return True


def _with_temporaries(file: Path) -> list[Path]:
    """The file, and what a process that was killed while writing it left beside it."""
    return [file, *file.parent.glob(f".{file.name}.*")]


def _destroy(file: Path) -> None:
    """Overwrite, cut to nothing, remove: a process that has it open finds nothing in it either."""
    if not file.name.endswith("-shm"):  # mapped by other processes, and without content
        try:
            with file.open("r+b", buffering=0) as content:
                with contextlib.suppress(OSError):  # a full disk may copy on write: then it is only removed
                    _overwrite(content)
                content.truncate(0)
        except FileNotFoundError:
            return
    file.unlink(missing_ok=True)


def _overwrite(content: FileIO) -> None:
    left = content.seek(0, os.SEEK_END)
    content.seek(0)
    while left > 0:
        left -= content.write(_CHUNK[:left])
    os.fsync(content.fileno())
