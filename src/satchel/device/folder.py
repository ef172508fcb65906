"""The device's folder: the database, how it is encrypted, and the lock that lets one process sync at a time."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from satchel.errors import DataFolderUnusable, DeviceBusy, DeviceNotEnrolled

DEFAULT_FOLDER = Path("~/.local/share/satchel/device")


class Description(msgspec.Struct, frozen=True):
    """`device.json`: what must be known before the database can be opened."""

    cipher: str | None
    """None: not encrypted."""
    key_source: str
    """Where the key was when the device was enrolled: keyring, file, given or none."""


class DeviceFolder:
    """Paths and files of one device."""

    def __init__(self, folder: Path | None = None) -> None:
        """Nothing is made yet. Without a folder: SATCHEL_DEVICE_FOLDER, else the usual place."""
        chosen = folder or Path(os.environ.get("SATCHEL_DEVICE_FOLDER") or DEFAULT_FOLDER)
        self.path = chosen.expanduser().absolute()
        self.database = self.path / "device.sqlite"
        self.key_file = self.path / "device.key"
        self.description = self.path / "device.json"
        self.wiped = self.path / "device.wiped"
        """Stands here from the moment a wipe begins until the folder is used for another enrolment."""

    @property
    def is_enrolled(self) -> bool:
        """A device was enrolled here."""
        return self.description.exists() and self.database.exists()

    def make(self) -> None:
        """Make the folder. Errors: DataFolderUnusable."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise DataFolderUnusable(
                f"{self.path} cannot be written: {error.strerror}.", hint="Give another folder: --folder."
            ) from error

    def describe(self) -> Description:
        """How the database is encrypted. Errors: DeviceNotEnrolled."""
        if not self.is_enrolled:
            raise DeviceNotEnrolled(f"{self.path} holds no enrolled device.")
        try:
            return msgspec.json.decode(self.description.read_bytes(), type=Description)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DataFolderUnusable(
                f"{self.description} cannot be read.", hint="Restore it from a copy, or enroll in another folder."
            ) from error

    def write_description(self, description: Description) -> None:
        """Keep how the database is encrypted."""
        write_private(self.description, msgspec.json.encode(description))

    def remove_database(self) -> None:
        """Remove the database and what SQLite keeps beside it."""
        for file in self.path.glob(f"{self.database.name}*"):
            file.unlink()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time syncs. SQLite's own file lock serves: it is the same on every operating system, and
        ends with the process. Errors: DeviceBusy, DataFolderUnusable."""
        try:
            lock = apsw.Connection(str(self.path / "device.lock"))
        except apsw.Error as error:
            raise DataFolderUnusable(f"{self.path} cannot be written: {error}.") from error
        try:
            _take(lock)
            yield
        finally:
            lock.close()


def _take(lock: apsw.Connection) -> None:
    try:
        lock.execute("begin exclusive")
    except apsw.BusyError as error:
        raise DeviceBusy from error
    except apsw.Error as error:
        raise DataFolderUnusable(f"{lock.filename} cannot be locked: {error}.") from error


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """What was renamed or removed in a folder outlasts a power cut, where the system can promise it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
